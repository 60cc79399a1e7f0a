"""All that crosses a process boundary: events, hints, Redis keys and codecs, text rules, settings, errors."""

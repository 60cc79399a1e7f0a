"""The sample shop: a catalogue, shoppers who behave plausibly, and their logs in the log contract."""

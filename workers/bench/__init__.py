"""Benchmarks: ratios of what we run to what one would run instead, measured side by side on this machine."""

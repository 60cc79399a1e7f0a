"""`aigq import`: from a shop's own logs, catalogue and profiles to a dataset that everything else reads.

A line's way: `readers` (a file's lines) -> `events` or `tables` (checks, in polars) -> `pseudonyms` -> `spill` (buckets
of shoppers on disk) -> `output` (sorted, without duplicates). `pipeline` puts them together; `tally` counts every line.
"""

"""`aigq demo`: the whole system on one machine, on real parts."""

"""AIGQ-Think: the offline job that writes what triggers lead to (x2q)."""

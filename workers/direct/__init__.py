"""AIGQ-Direct: the nearline worker that keeps each shopper's list fresh."""

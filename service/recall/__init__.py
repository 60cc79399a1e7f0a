"""Recall sources, one a file. Each returns proposals, or raises `StoreUnavailable`; none waits past its timeout."""

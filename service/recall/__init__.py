"""Recall sources, one a file. Each returns candidates, or raises `StoreUnavailable`; none waits past its timeout."""

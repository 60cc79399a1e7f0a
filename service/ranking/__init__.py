"""Pure rules without network I/O, shared by the service and the workers: catalogue, filter, merge."""

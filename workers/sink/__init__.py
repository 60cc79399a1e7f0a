"""The sink: drains the event streams to Parquet logs."""

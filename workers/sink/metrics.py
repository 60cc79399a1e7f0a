"""Every metric of the sink, each with a sentence."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("aigq_sink_rows_total", "Log lines in finished parts, by type of event.", ["type"])
PARTS = Counter("aigq_sink_parts_total", "Parts that were finished.")
BYTES = Counter("aigq_sink_bytes_total", "Bytes of finished parts.")
DUPLICATES = Counter("aigq_sink_duplicates_total", "Lines left out because their event_id was written before.")
REJECTS = Counter("aigq_sink_rejects_total", "Stream entries put aside as unreadable, by reason.", ["reason"])
FAILURES = Counter("aigq_sink_failures_total", "Attempts that failed and are made again, by what failed.", ["part"])
LAG_ENTRIES = Gauge("aigq_sink_lag_entries", "Stream entries that are in no finished part yet.")
LAG_SECONDS = Gauge("aigq_sink_lag_seconds", "Age of the oldest line that waits for its part.")
WRITE_SECONDS = Histogram(
    "aigq_sink_write_seconds", "Time to write one part durably.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30)
)

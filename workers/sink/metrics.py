"""Every metric of the sink, each with a sentence."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("aigq_sink_rows_total", "Log lines in finished parts, by type of event.", ["type"])
PARTS = Counter("aigq_sink_parts_total", "Parts that were finished.")
BYTES = Counter("aigq_sink_bytes_total", "Bytes of finished parts.")
DUPLICATES = Counter("aigq_sink_duplicates_total", "Lines left out because their event_id was written before.")
REFUSED = Counter("aigq_sink_refused_total", "Lines left out because their shopper refused consent meanwhile.")
REJECTS = Counter("aigq_sink_rejects_total", "Stream entries put aside as unreadable, by reason.", ["reason"])
FAILURES = Counter("aigq_sink_failures_total", "Steps that failed and are tried again, by reason.", ["reason"])
OVERRUN = Counter("aigq_sink_overrun_total", "Lines that redis.stream_maxlen cut off before they were read, at least.")
FEEDBACK = Counter(
    "aigq_hint_feedback_total",
    "Hints that were seen and clicked, by source and experiment arm of the list that they came from.",
    ["action", "source", "arm"],
)
QUERY_HHI = Gauge("aigq_exposure_query_hhi", "Concentration of the latest hints on few queries; 1 = on one.")
CATEGORY_HHI = Gauge("aigq_exposure_category_hhi", "Concentration of the latest hints on few categories; 1 = on one.")
TOP_SHARE = Gauge("aigq_exposure_top_share", "Share of the latest hints that the most shown 1% of queries have.")
LAG_ENTRIES = Gauge("aigq_sink_lag_entries", "Stream entries that are in no finished part yet.")
LAG_SECONDS = Gauge("aigq_sink_lag_seconds", "Age of the oldest entry that was read and is in no finished part yet.")
WRITE_SECONDS = Histogram(
    "aigq_sink_write_seconds", "Time to write one part durably.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30)
)

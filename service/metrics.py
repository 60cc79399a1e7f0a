"""Every metric of the service, each with a sentence. Base units; labels are bounded.

One process a container: prometheus_client's default registry is then exact and needs no shared directory.
"""

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0)

REQUESTS = Counter("aigq_requests_total", "HTTP requests answered, by route and status.", ["route", "status"])
LATENCY = Histogram(
    "aigq_request_seconds", "Time from first byte in to last byte out, by route.", ["route"], buckets=LATENCY_BUCKETS
)
IN_FLIGHT = Gauge("aigq_requests_in_flight", "HTTP requests being answered now.")
SHED = Counter("aigq_requests_shed_total", "Requests answered 503 because too many were in flight.")
EVENTS = Counter("aigq_events_total", "Events by what became of them: accepted or rejected.", ["outcome"])
HINTS = Counter("aigq_hints_total", "Hints served, by source and experiment arm.", ["source", "arm"])
EXPLORED = Counter("aigq_explored_total", "Answers in which a slot shows another hint than the best, by arm.", ["arm"])
DEGRADED = Counter("aigq_degraded_total", "Answers that had to do without a source, by source.", ["source"])
RECALL = Histogram(
    "aigq_recall_seconds", "Time that recall took of a request, by source.", ["source"], buckets=LATENCY_BUCKETS
)
RECALLED = Counter("aigq_recalled_total", "Requests for which a source had a candidate, by source.", ["source"])
CORRUPT = Counter(
    "aigq_corrupt_values_total", "Stored values treated as a miss, by kind and reason.", ["kind", "reason"]
)
STORE_ERRORS = Counter("aigq_store_errors_total", "Redis calls that failed or timed out, by use.", ["use"])
BACKGROUND_FAILURES = Counter(
    "aigq_background_failures_total",
    "Background tasks that met an error nobody foresaw and were begun again a second later, by task; the log has it.",
    ["task"],
)
SERVED_DROPPED = Counter(
    "aigq_served_dropped_total", "Served lists not logged, because the buffer was full or Redis away."
)
U2Q_AGE = Histogram(
    "aigq_u2q_age_seconds", "Age of the generated list at serving.", buckets=(1, 5, 30, 120, 600, 3600, 86400, 604800)
)
STALE = Counter(
    "aigq_stale_lists_total", "Requests of shoppers whose list is missing, old or by another model.", ["reason"]
)
X2Q_CACHE = Counter("aigq_x2q_lookups_total", "x2q lookups by outcome: cached, fetched or absent.", ["outcome"])
STORE_UP = Gauge("aigq_store_up", "1 if Redis answered the last poll.")
POOL_WAIT = Histogram(
    "aigq_redis_pool_wait_seconds",
    "Time that a Redis command waited for a connection, by use.",
    ["use"],
    buckets=(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.03, 0.1, 1.0),
)
BREAKER_OPEN = Gauge("aigq_breaker_open", "1 while Redis is left alone after failures in a row.")
LOOP_LAG = Gauge("aigq_event_loop_lag_seconds", "How much too late the last poll came: the process is that busy.")
X2Q_LISTS = Gauge("aigq_x2q_lists", "Lists of the current x2q version; 0 without one.")
X2Q_COVERED = Gauge("aigq_x2q_covered_share", "Share of past traffic whose triggers the current x2q version has.")
X2Q_PUBLISHED = Gauge("aigq_x2q_published_timestamp_seconds", "When the current x2q version was named; 0 without one.")

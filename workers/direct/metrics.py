"""Every metric of the Direct worker, each with a sentence."""

from prometheus_client import Counter, Gauge, Histogram

REFRESHES = Counter(
    "aigq_refreshes_total",
    "Shoppers handled, by outcome (complete.lua, release.lua, let_go.lua; unchanged = nothing to generate).",
    ["outcome"],
)
FAILURES = Counter("aigq_direct_failures_total", "Batches that failed and were given back, by error.", ["error"])
DROPS = Counter(
    "aigq_dropped_queries_total",
    "Generated queries not kept, by reason; prompt_shortened counts prompts that were longer than the model's window.",
    ["reason"],
)
EMPTY = Counter(
    "aigq_empty_answers_total",
    "Answers without a query that may be shown: the stored list stays. A whole batch of them is given back.",
)
TOKENS = Counter("aigq_generated_tokens_total", "Tokens that the model generated.")
WAITING = Gauge(
    "aigq_vllm_waiting", "Prompts that waited at vLLM at the last look; with a batch's worth, none is sent."
)
RUNNING = Gauge("aigq_vllm_running", "Prompts that vLLM generated at the last look, anybody's.")
CACHE = Gauge("aigq_vllm_cache_use", "Share of vLLM's KV cache in use at the last look; over 0.9, no batch is sent.")
DUE = Gauge("aigq_due_shoppers", "Shoppers who wait for a refresh, are due, or are leased.")
OLDEST = Gauge("aigq_due_oldest_seconds", "How long past due the longest waiting shopper is.")
DEFERRED = Gauge(
    "aigq_due_deferred_shoppers",
    "Shoppers who stand back for those without a list and for buyers: the longest wait is over queue.shed_after_s.",
)
LATENESS = Histogram(
    "aigq_due_late_seconds", "How long past due a shopper was claimed.", buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 600)
)
RANKED = Counter(
    "aigq_ranked_queries_total", "Queries of ranked lists, by origin: generated, or only retrieved.", ["origin"]
)
RANKING_SECONDS = Histogram(
    "aigq_ranking_seconds", "Time to rank one shopper's list.", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
)
GENERATION_SECONDS = Histogram(
    "aigq_generation_seconds", "Time of one batch at vLLM.", buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
)

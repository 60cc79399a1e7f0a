"""How busy a vLLM server says it is."""

import httpx
import pytest

from service.contracts.settings import VllmSettings
from workers.common.generator import Load
from workers.common.vllm_client import VllmGenerator

_METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="aigq } mini"} 2.0
vllm:num_requests_running{engine="1",model_name="aigq } mini"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="aigq } mini"} 3.0
vllm:num_requests_waiting{engine="1",model_name="aigq } mini"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 100.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="aigq } mini"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="aigq } mini"} 0.25
"""


@pytest.mark.parametrize(
    ("page", "load"),
    [
        (_METRICS, Load(running=5, waiting=7, cache=0.5)),
        ("# HELP vllm:num_requests_waiting x\nvllm:num_requests_waiting 12.0", Load(waiting=12)),
        ("vllm:num_requests_waiting NaN\nvllm:kv_cache_usage_perc +Inf\n", Load()),
        ("vllm:num_requests_waiting{ 1\n", Load()),
        ("<html>\n", Load()),
        ("", Load()),
    ],
)
async def test_how_busy_it_is(page: str, load: Load) -> None:
    """From vLLM's own metrics: the sum over its engines, and the fullest cache; nothing from who does not say."""
    for status, found in ((200, load), (500, Load())):
        transport = httpx.MockTransport(lambda _, status=status: httpx.Response(status, text=page))
        async with VllmGenerator(VllmSettings(), transport) as generator:
            assert await generator.load() == found

"""How our own checkpoints are served: one place for the demo, the evaluation, the benchmark and the tests."""

import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

MODEL_NAME: Final = "aigq-mini"
ENGINE: Final[dict[str, Any]] = {
    "max_model_len": 512, "max_num_seqs": 64, "enforce_eager": True, "dtype": "bfloat16",
    "distributed_executor_backend": "uni",
}  # fmt: skip
"""One process for scheduler and model: of two, each spins while the other works, on a core that workers need
(docs/experiments.md, 2026-11-26)."""
_CPU: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else the CPU build takes a second process all the same
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1))),
}
"""For the CPU build alone: on GPUs vLLM knows better how many threads it needs."""
ENV: Final = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    **(_CPU if any(distributions(name="vllm-cpu")) else {}),
}  # fmt: skip


def command(model: Path, port: int, name: str = MODEL_NAME, **engine: int) -> list[str]:
    """Return the command that serves `model` as `name` on the loopback address; `engine` goes before `ENGINE`.

    `python -m`, since the `vllm` command of the CPU build looks for a distribution of another name.
    """
    options = []
    for option, value in {**ENGINE, **engine}.items():
        options += [f"--{option.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(model), "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), *options,
    ]  # fmt: skip

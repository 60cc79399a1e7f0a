"""Start processes, wait until they answer, stop them in reverse order. Their output goes to log files."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from service.contracts.errors import AigqError

_STOP_S = 10.0
_LOG_LINES = 15


class StartError(AigqError):
    """A part did not come up; the message says which, shows the end of its log, and what to do."""


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens there, else a free port on the loopback address."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartError("no free port on 127.0.0.1")


class Processes:
    """A group of child processes; a context manager that leaves none behind."""

    def __init__(self, logs: Path) -> None:
        """Write one log file a process into `logs`."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all, last started first."""
        self.stop()

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._logs / f"{name}.log"

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, so that Ctrl-C reaches only us and we stop the others in order."""
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  (our own commands)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self._running.append((name, process))
        return process

    def wait_ready(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return once `ready()`.

        Raises:
            StartError: the process ended, or was not ready in time.
        """
        process = next(process for known, process in self._running if known == name)
        deadline = time.monotonic() + timeout_s
        while not ready():
            if process.poll() is not None:
                raise StartError(f"{name} ended with code {process.returncode}.\n{self._tail(name)}")
            if time.monotonic() > deadline:
                raise StartError(f"{name} was not ready after {timeout_s:.0f} s.\n{self._tail(name)}")
            time.sleep(0.1)

    def dead(self) -> str | None:
        """Return the name of a process that ended by itself, if any."""
        return next((name for name, process in self._running if process.poll() is not None), None)

    def stop(self) -> None:
        """Ask each process to end, last started first; kill its group if it does not."""
        while self._running:
            _, process = self._running.pop()
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):  # killed below, with its children
                    process.wait(_STOP_S)
            try:
                os.killpg(process.pid, signal.SIGKILL)  # children that outlived it, such as vLLM's engine
            except ProcessLookupError:
                continue

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([*(f"  | {line}" for line in lines), f"The whole log: {self.log(name)}"])


def answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        return httpx.get(url, timeout=2.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def aigq(*arguments: str) -> list[str]:
    """Return the command that runs our own CLI in a process of its own."""
    return [sys.executable, "-m", "workers.cli", *arguments]

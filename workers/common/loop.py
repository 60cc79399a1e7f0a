"""The loop of a process that works until it is told to stop."""

import asyncio
import signal
from typing import Final

_BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


def stop_on_signals() -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set, in place of ending the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for received in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(received, stop.set)
    return stop


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait `seconds`, or until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row, one or more."""
    return _BACKOFF_S[min(failures, len(_BACKOFF_S)) - 1]

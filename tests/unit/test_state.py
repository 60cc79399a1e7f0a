"""The service's background tasks."""

import asyncio

import pytest

from service import state
from service.metrics import BACKGROUND_FAILURES
from service.state import _endless, _stop


async def test_a_task_that_loses_a_cancellation_is_stopped_all_the_same() -> None:
    """Else the service would not end on SIGTERM: redis-py has lost cancellations."""
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await _stop(task)
    assert (lost, task.cancelled()) == (2, True)


async def test_a_task_that_ended_by_itself_needs_no_stopping() -> None:
    """Stopping is idempotent."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await _stop(task)


async def test_an_unforeseen_error_is_told_and_ends_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the service would serve the artefact and the version of that moment for ever, and nobody would know."""
    monkeypatch.setattr(state, "_POLL_S", 0.0)
    begun, polling = 0, asyncio.Event()

    async def watch() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ZeroDivisionError("of the poll")
        polling.set()
        await asyncio.Event().wait()

    before = BACKGROUND_FAILURES.labels("State.watch")._value.get()
    task = asyncio.create_task(_endless(watch, "State.watch"))
    await polling.wait()
    await _stop(task)
    assert task.cancelled()
    assert BACKGROUND_FAILURES.labels("State.watch")._value.get() == before + 1
    assert "ZeroDivisionError: of the poll" in caplog.text

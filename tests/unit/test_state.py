"""The service's background tasks."""

import asyncio

from service.state import _stop


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

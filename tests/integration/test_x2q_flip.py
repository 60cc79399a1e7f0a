"""Right after a flip: old lists while the new ones are read, and never both in one answer."""

from collections.abc import AsyncIterator, Callable

import orjson
import pytest

from service.contracts.codecs import BehaviourEntry
from service.contracts.keys import Trigger, query_trigger
from service.contracts.settings import Settings
from service.hintq import HintsQuery, answer
from service.state import State, open_state
from tests.integration.support import eventually_async, query_list

_TENT, _LAMP = query_trigger("tent"), query_trigger("lamp")


@pytest.fixture
async def state(make_settings: Callable[..., Settings]) -> AsyncIterator[State]:
    """Return the state of a service that is polled by hand."""
    async with open_state(make_settings()) as opened:
        yield opened
        await opened.poll_redis.delete(opened.keys.x2q_pointer())


async def _flip(state: State, version: str, *triggers: Trigger) -> None:
    for trigger in triggers:
        await state.poll_redis.set(
            state.keys.x2q(version, trigger), query_list(trigger, f"{version} {trigger[6:]}"), ex=99
        )
    await state.poll_redis.set(state.keys.x2q_pointer(), version)
    await state.poll()
    assert state.x2q_version == version


async def _asked(state: State, *searched: str) -> set[str]:
    actions = [BehaviourEntry("search", 1.0, query) for query in searched]
    body = orjson.loads((await answer(state, HintsQuery("r", None, 9, 1000, actions=actions))).body)
    return {hint["query"] for hint in body["hints"] if hint["source"] == "x2q"}


async def test_the_old_list_stands_in_while_the_new_one_is_read(state: State) -> None:
    """Without waiting; the next request has the new one."""
    await _flip(state, "old", _TENT)
    assert await _asked(state, "tent") == {"old tent"}
    await _flip(state, "new", _TENT)
    assert await _asked(state, "tent") == {"old tent"}

    async def read() -> bool:
        return await _asked(state, "tent") == {"new tent"}

    await eventually_async(read)


async def test_versions_never_mix(state: State) -> None:
    """Of one of two lists the old version is not known, so both are read anew; when it is long ago, likewise."""
    await _flip(state, "old", _TENT, _LAMP)
    await _asked(state, "tent")
    await _flip(state, "new", _TENT, _LAMP)
    assert await _asked(state, "tent", "lamp") == {"new tent", "new lamp"}
    await _flip(state, "newer", _TENT, _LAMP)
    state.x2q_flip = ("new", 0.0)
    assert await _asked(state, "tent", "lamp") == {"newer tent", "newer lamp"}


async def test_a_version_that_was_taken_away_does_not_stand_in(state: State) -> None:
    """No version is no version."""
    await _flip(state, "old", _TENT)
    assert await _asked(state, "tent") == {"old tent"}
    await state.poll_redis.delete(state.keys.x2q_pointer())
    await state.poll()
    assert await _asked(state, "tent") == set()

"""Who is a case, and what may be known of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contracts.errors import ArtefactError
from service.contracts.text import normalise
from tests.unit.evaluation.shops import CUT, DAY, START, Event, users, write
from workers.common.split import part_of
from workers.evaluation.cases import AHEAD, Act, Case, Split, read_split, triggers

LEARNERS = [(user, DAY, "search", "tent") for user in users("train", 3)]
"""Enough that there is something to learn."""
USERS = [*users("train", 2), *users("validation", 2), *users("test", 3)]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.one_of(st.integers(0, int(30 * DAY)).map(float), st.sampled_from([CUT - START, CUT - START - 1.0])),
        st.sampled_from(["search", "hint_click", "click", "cart", "purchase"]),
        st.sampled_from(["Tent", "tent ", "stove", "lamp", "mug"]),
    ),
    max_size=40,
    unique_by=lambda event: event[:2],  # so that there is one order in time
)


def _read(events: list[Event], cases: int = 100) -> Split:
    with TemporaryDirectory() as folder:
        return read_split(write(Path(folder) / "data", events), cases=cases, learners=100)


@settings(max_examples=30)
@given(EVENTS)
def test_no_case_and_no_learner_knows_anything_after_the_cut_off(events: list[Event]) -> None:
    """Histories end before it, targets are the first searches from then on, learners are other shoppers."""
    anchor = users("test", 4)[-1]
    found = _read([*LEARNERS, *events, (anchor, 29 * DAY, "search", "mug")])
    assert found.now == CUT
    for shopper in (*found.learners, *found.validation, *found.test):
        assert all(act.ts < CUT for act in shopper.history)
        assert list(shopper.history) == sorted(shopper.history, key=lambda act: act.ts)
    assert {part_of(shopper.user_id) for shopper in found.learners} == {"train"}
    for case in (*found.validation, *found.test):
        later = sorted(
            (ts, normalise(ref)) for user, ts, kind, ref in events
            if user == case.user_id and kind == "search" and START + ts >= CUT
        )  # fmt: skip
        if case.user_id != anchor:
            assert list(case.targets) == list(dict.fromkeys(query for _, query in later[:AHEAD]))
        assert not set(case.novel_targets) & set(case.searched)


@settings(max_examples=20)
@given(EVENTS, EVENTS)
def test_what_is_learned_does_not_depend_on_what_comes_later(early: list[Event], late: list[Event]) -> None:
    """Two logs that agree before the cut-off teach the same."""
    before = [event for event in early if START + event[1] < CUT]
    anchor = (users("test", 4)[-1], 29 * DAY, "search", "mug")
    after = [event for event in late if START + event[1] >= CUT]
    one, other = _read([*LEARNERS, *before, anchor]), _read([*LEARNERS, *before, anchor, *after])
    assert one.learners == other.learners
    assert one.queries == other.queries


def test_targets_are_distinct_and_novel_ones_are_new() -> None:
    """Three searches count, the same one twice is one target, and one's own earlier query is not novel."""
    user = users("test", 1)[0]
    after = ("Dome Tent", "stove", "stove", "lamp")
    events = [(user, (26 + n / 10) * DAY, "search", query) for n, query in enumerate(after)]
    case = _read([*LEARNERS, (user, DAY, "search", "dome  tent"), *events]).test[0]
    assert list(case.targets) == ["dome tent", "stove"]
    assert list(case.novel_targets) == ["stove"]


def test_cases_are_a_sample_by_hash() -> None:
    """Fewer cases are the first of more, so figures of a small run are of a part of the big one's shoppers."""
    events = [*LEARNERS, *((user, 27 * DAY, "search", "mug") for user in users("test", 9))]
    every, some = _read(events), _read(events, cases=4)
    assert [case.user_id for case in some.test] == [case.user_id for case in every.test][:4]
    assert some.available["test"] == 9


def test_who_did_not_consent_is_neither_learned_from_nor_a_case(tmp_path: Path) -> None:
    """Without consent nothing of a shopper is used."""
    case, refused = users("test", 2)
    learner = users("train", 1)[0]
    events = [*LEARNERS, *((user, DAY, "search", "tent") for user in users("train", 6)[3:]),
              (case, 27 * DAY, "search", "mug"), (refused, 27 * DAY, "search", "mug")]  # fmt: skip
    profiles = [{"user_id": refused, "consent": False}, {"user_id": learner, "consent": False}]
    found = read_split(write(tmp_path / "data", events, profiles), cases=9, learners=99)
    assert [one.user_id for one in found.test] == [case]
    assert learner not in {one.user_id for one in found.learners}


def test_triggers_are_the_latest_distinct_acts() -> None:
    """Newest first, each once, at most as many as asked for."""
    acts = [Act("search", 1.0, "tent"), Act("click", 2.0, "i1"), Act("search", 3.0, "tent"), Act("cart", 4.0, "i2")]
    assert list(triggers(Case("u", {}, acts, ("mug",)), 2)) == ["item:i2", "tent"]


@pytest.mark.parametrize(
    ("events", "manifest", "message"),
    [
        ([], {}, "no events"),
        ([(users("test", 1)[0], 27 * DAY, "search", "mug")], {}, "nothing to learn"),
        (LEARNERS, {}, "no shopper of the part test"),
        (LEARNERS, {"from": None}, "from, to"),
    ],
)
def test_a_dataset_that_gives_no_case_is_refused_with_the_fix(
    tmp_path: Path, events: list[Event], manifest: dict[str, None], message: str
) -> None:
    """The message names the file and what to do."""
    span = {"from": "2026-12-16T08:00:00+00:00", "to": "2027-01-15T08:00:00+00:00"}
    dataset = write(tmp_path / "data", events, manifest={**span, **manifest})
    with pytest.raises(ArtefactError, match=message) as raised:
        read_split(dataset, cases=9, learners=9)
    assert str(tmp_path) in str(raised.value)

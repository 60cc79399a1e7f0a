"""From a model's text to a list: every query kept may be shown, every drop is counted."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import near_key
from service.ranking.catalogue import Catalogue
from service.ranking.filter import BlockList, reject_reason
from service.ranking.merge import rank_score
from tests.support import ANY_TEXT, QUERIES
from workers.common.generator import Generation
from workers.common.list_parser import LIST_SIZE, parse_list

texts = st.lists(ANY_TEXT | st.sampled_from(["tent", "- tents", "1. lamp", "<b>", "a"]), max_size=20).map("\n".join)


def _parse(text: str, *, truncated: bool = False, exclude: tuple[str, ...] = ()) -> tuple[list[str], Counter[str]]:
    drops: Counter[str] = Counter()
    return [q.query for q in parse_list(Generation(text, 1, truncated), drops, lambda _: None, exclude)], drops


@given(texts, st.booleans(), QUERIES)
def test_what_the_parser_promises(text: str, truncated: bool, exclude: list[str]) -> None:  # noqa: FBT001
    """On any text: showable, distinct, not excluded, scored by rank, and nothing vanishes uncounted."""
    drops: Counter[str] = Counter()
    queries = parse_list(Generation(text, 1, truncated), drops, lambda _: None, exclude)
    assert len(queries) <= LIST_SIZE
    assert all(reject_reason(q.query) is None for q in queries)
    keys = [near_key(q.query) for q in queries]
    assert len(set(keys)) == len(keys)
    assert set(keys).isdisjoint(map(near_key, exclude))
    assert [q.score for q in queries] == [rank_score(rank) for rank in range(len(queries))]
    assert len(queries) + drops.total() <= text.count("\n") + 1


def test_a_plain_list() -> None:
    """One query a line; blank lines are nothing, not even drops."""
    assert _parse("Camping Stove\n\nsleeping bag\n  \n") == (["camping stove", "sleeping bag"], Counter())


def test_bullets_numbers_and_quotes_leave() -> None:
    """Chat models decorate."""
    queries, _ = _parse('1. tent\n- lamp\n* "gas stove"\n10) boots\n• 3 person hammock')
    assert queries == ["tent", "lamp", "gas stove", "boots", "3 person hammock"]


def test_a_cut_last_line_is_dropped() -> None:
    """`sleeping b` is no query."""
    assert _parse("tent\nsleeping b", truncated=True) == (["tent"], Counter(truncated=1))
    assert _parse("tent\nsleeping bag", truncated=False)[0] == ["tent", "sleeping bag"]
    assert _parse("", truncated=True) == ([], Counter(truncated=1))


def test_drops_are_counted_by_reason() -> None:
    """What a metric shows when a model goes wrong."""
    queries, drops = _parse("tent\ntents\n12345\n<b>x\nx\nhttp://evil.example shop\nlamp", exclude=("LAMPS",))
    assert queries == ["tent"]
    assert drops == Counter(duplicate=2, no_letters=1, markup=1, short=1, url=1)


def test_more_than_asked_for_is_counted_too() -> None:
    """A list has `LIST_SIZE` queries."""
    words = [f"lamp {chr(97 + n)}{chr(97 + n)}" for n in range(LIST_SIZE + 3)]
    queries, drops = _parse("\n".join(words))
    assert queries == words[:LIST_SIZE]
    assert drops == Counter(surplus=3)


def test_a_word_that_the_shop_does_not_know_is_dropped() -> None:
    """A small model can misspell into words that nobody ever wrote; such a query finds nothing."""
    drops: Counter[str] = Counter()
    queries = parse_list(
        Generation("dome tent\ndome tnet", 4, truncated=False), drops, {"dome tnet": "finds_nothing"}.get
    )
    assert [q.query for q in queries] == ["dome tent"]
    assert drops == {"finds_nothing": 1}


def test_a_shortened_prompt_is_counted() -> None:
    """An operator sees that the model's window is too small for what shoppers do."""
    drops: Counter[str] = Counter()
    assert parse_list(Generation("tent", 1, truncated=False, shortened=True), drops, lambda _: None)
    assert drops == {"prompt_shortened": 1}


def test_what_the_shop_blocks_is_dropped(catalogue: Catalogue) -> None:
    """In both scripts, though the catalogue has it."""
    blocking = replace(catalogue, blocked=BlockList.of(["stoves", "帐篷"]))
    for text, left in (("gas camping stove\ntwo person tent", ["two person tent"]), ("双人帐篷\n帐", [])):
        drops: Counter[str] = Counter()
        queries = parse_list(Generation(text, 4, truncated=False), drops, blocking.refuses)
        assert [q.query for q in queries] == left
        assert drops["blocked"] == 1

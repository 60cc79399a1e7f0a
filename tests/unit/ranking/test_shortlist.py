"""What a model may read of a ranking, and learn from it."""

from hypothesis import given
from hypothesis import strategies as st

from service.ranking.shortlist import OWN_KEPT, distinct, shortlist

_QUERIES = st.lists(st.sampled_from([f"query {letter}" for letter in "abcdefghijklmn"]), unique=True)


@given(_QUERIES, _QUERIES, _QUERIES)
def test_rare_queries_are_left_out_and_few_are_ones_own(ranked: list[str], known: list[str], own: list[str]) -> None:
    """Others' queries are all kept, in their order; of one's own the likeliest."""
    found = list(shortlist(ranked, known, own))
    assert [query for query in found if query not in own] == [q for q in ranked if q in known and q not in own]
    assert [query for query in found if query in own] == [q for q in ranked if q in known and q in own][:OWN_KEPT]
    assert found == [query for query in ranked if query in found]


def test_distinct_drops_near_duplicates() -> None:
    """Word order and plural do not make another query; a limit is a limit."""
    assert distinct(["running shoes", "shoe running", "socks"], 3) == ["running shoes", "socks"]
    assert distinct(["running shoes", "shoe running", "socks"], 1) == ["running shoes"]
    assert distinct(["socks"], 0) == []

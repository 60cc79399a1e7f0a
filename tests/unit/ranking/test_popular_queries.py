"""The table of popular queries refuses what it is not."""

from typing import Any

import pytest

from service.ranking.popular_queries import PopularQueries

_GROUP = {"searches": 10, "prior": 1.0, "places": [1], "counts": [5]}
_TABLE: dict[str, Any] = {"queries": ["tent", "lamp"], "shares": [0.6, 0.4], "groups": {"segment=a": _GROUP}}


def test_a_table_survives_json() -> None:
    """With its groups, which raise what they search more than others: 5 of 10 where 4 were expected."""
    table = PopularQueries.from_json(_TABLE)
    assert PopularQueries.from_json(table.as_json()).as_json() == table.as_json()
    (first, one), (second, other) = table.ranked(("segment=a",), 2)
    assert (first, second) == ("lamp", "tent")
    assert (one, other) == (1.0, pytest.approx(0.6 * 2 / 7 / (0.4 * 6 / 5)))


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {**_TABLE, "queries": []}, {**_TABLE, "shares": [0.6]}, {**_TABLE, "shares": [0.6, 0.0]},
        {**_TABLE, "groups": []}, {**_TABLE, "groups": {"a": {}}},
        {**_TABLE, "groups": {"a": {**_GROUP, "places": [2]}}},
        {**_TABLE, "groups": {"a": {**_GROUP, "counts": []}}}, {**_TABLE, "groups": {"a": {**_GROUP, "prior": 0.0}}},
        {**_TABLE, "groups": {"a": {**_GROUP, "places": [-1]}}},
    ],
)  # fmt: skip
def test_nonsense_is_refused(content: Any) -> None:
    """Before a request meets it."""
    with pytest.raises(ValueError, match=r"popular|query|group"):
        PopularQueries.from_json(content)

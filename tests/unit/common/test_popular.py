"""What is popular, counted by context: only where the logs show it, and nobody alone."""

import calendar
import time

import polars as pl

from service.ranking.popular_queries import PopularQueries
from workers.common.popular import popular

_JANUARY, _JULY = (calendar.timegm((2026, month, 15, 12, 0, 0)) for month in (1, 7))
_REGIONS = ("North", "South")


def _searches(rows: list[tuple[str, str, float]]) -> pl.DataFrame:
    hours = [(user, query, int(ts // 3600)) for user, query, ts in rows]
    return pl.DataFrame(hours, schema=["user_id", "query", "hour"], orient="row")


def _shop() -> tuple[list[tuple[str, str, float]], pl.DataFrame]:
    """Return what 240 shoppers searched in two regions and seasons, and their profiles."""
    rows: list[tuple[str, str, float]] = []
    profiles: list[tuple[str, str, str, str, bool]] = []
    for number in range(240):
        user, region, july = f"u{number}", _REGIONS[number % 2], number % 4 < 2
        profiles.append((user, region, ("en-US", "en-GB", "zh-CN")[number % 3], "ab"[number // 4 % 2], number != 7))
        moment = _JULY if july else _JANUARY
        warm = july == (region == "North")
        rows += [(user, "socks", moment), (user, "swimsuit" if warm else "sledge", moment)]
        rows.append((user, "teapot" if number % 3 == 2 else "kettle", moment))
    names = ["user_id", "region", "locale", "shoe", "consent"]
    return rows, pl.DataFrame(profiles, schema=names, orient="row")


def _made() -> PopularQueries:
    rows, profiles = _shop()
    found = popular(_searches(rows), profiles)
    assert found is not None
    return PopularQueries.from_json(found.as_json())


def _best(table: PopularQueries, profile: dict[str, str], now: float) -> list[str]:
    return [one.query for one in table.ranked(table.context(profile, now), 5)]


def test_the_season_is_the_regions() -> None:
    """In July one half of the world swims; the same month is winter in the other, whatever the case of its name."""
    table = _made()
    for region, july, january in (("north", "swimsuit", "sledge"), ("SOUTH", "sledge", "swimsuit")):
        for now, first, other in ((_JULY, july, january), (_JANUARY, january, july)):
            ranked = _best(table, {"region": region}, now)
            assert ranked.index(first) < ranked.index(other), (region, now)


def test_a_locale_falls_back_to_its_language() -> None:
    """Nobody is from Australia, but others speak English; who speaks nothing known gets everyone's."""
    table = _made()
    others = _best(table, {"locale": "en_AU"}, 0.0)
    assert others.index("kettle") < others.index("teapot")
    chinese = _best(table, {"locale": "zh"}, 0.0)
    assert chinese.index("teapot") < chinese.index("kettle")
    assert table.context({"locale": "xx", "planet": "Mars"}, 0.0) == ()
    assert [one.query for one in table.ranked((), 5)] == list(table.queries[:5])


def test_what_makes_no_difference_is_left_out() -> None:
    """Shoppers of shoe a and b search alike, and all search at noon: more groups would only add noise."""
    assert not [name for name in _made().groups if name.startswith(("shoe=", "@hours"))]


def test_a_group_tells_nothing_of_few_shoppers() -> None:
    """Two of a language searched it, and so did others: the language's count stays untold."""
    rows, profiles = _shop()
    rows += [(f"u{number}", "whistle", _JULY) for number in (2, 5, 0, 3, 6)]
    rows += [(f"u{number}", "secret", _JULY) for number in (0, 2)]
    found = popular(_searches(rows), profiles)
    assert found is not None
    assert "secret" not in found.queries
    place, groups = found.queries.index("whistle"), found.as_json()["groups"]
    assert place in groups["locale=en"]["places"]
    assert place not in groups["locale=zh"]["places"]
    assert all(count >= 3 for one in groups.values() for count in one["counts"])


def test_who_refused_has_no_profile() -> None:
    """Their searches count for everyone alone."""
    rows, profiles = _shop()
    refused = profiles.with_columns(consent=pl.lit(value=False))
    found = popular(_searches(rows), refused)
    assert found is not None
    assert all(name.startswith("@") for name in found.groups)


def test_the_clock_is_of_utc() -> None:
    """Parts of six hours, where they differ."""
    rows = [
        (f"u{number}", "coffee" if number % 2 else "pillow", 6 * 3600.0 * (1 + 2 * (number % 2)))
        for number in range(40)
    ]
    table = popular(_searches(rows), None)
    assert table is not None
    at_ten, at_twenty = (time.time() // 86400 * 86400 + hour * 3600 for hour in (10, 20))
    assert _best(table, {}, at_ten)[0] == "pillow"
    assert _best(table, {}, at_twenty)[0] == "coffee"

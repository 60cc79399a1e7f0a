"""Count what is popular, with everyone and by context: each profile field's values, parts of the day, months.

The reader is `service.ranking.popular_queries`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from service.ranking.filter import reject_reason
from service.ranking.popular_queries import (
    LANGUAGE_OF,
    REGION,
    Group,
    PopularQueries,
    clock,
    group,
    in_region,
    language,
)
from workers.common.item_text import MIN_SHOPPERS

EVERYONES: Final = 1000
"""Queries kept for what they are to everyone, most popular first."""
EACH: Final = 200
"""Queries kept for what they are to a group."""
_VALUES: Final = 50
"""Values of a field that are kept, those of most shoppers."""
_LEAST: Final = 1e-3
"""A group whose factors vary less (by their variance) searches what everyone does."""


def popular(searches: pl.DataFrame, profiles: pl.DataFrame | None) -> PopularQueries | None:
    """Return what is popular; None if no query was searched by `MIN_SHOPPERS` shoppers.

    `searches`: user_id, query (normalised), hour (since the epoch). `profiles`: user_id, string fields, perhaps
    consent; of who refused it, no profile is used. Shoppers are counted, not searches, and of a group only queries of
    `MIN_SHOPPERS` shoppers of it (k-anonymity).
    """
    pairs = searches.select("user_id", "query").unique()
    counts = _counted(pairs).filter(pl.col("shoppers") >= MIN_SHOPPERS)
    shown = [query for query in counts["query"] if reject_reason(query) is None]
    counts = counts.filter(pl.col("query").is_in(shown)).sort(["shoppers", "query"], descending=[True, False])
    if counts.is_empty():
        return None
    shares = counts.select("query", share=pl.col("shoppers") / pairs.height)
    found = {
        name: one for name, members in _groups(searches, profiles) if (one := _learn(members, shares, pairs.height))
    }
    kept = {*shares.head(EVERYONES)["query"], *(query for one in found.values() for query in one.best)}
    table = shares.filter(pl.col("query").is_in(list(kept))).with_row_index("place")
    groups: dict[str, Group] = {}
    for name, one in found.items():
        rows = one.counts.join(table, on="query").sort("place")
        groups[name] = Group(one.searches, one.prior, rows["place"].to_list(), rows["shoppers"].to_list())
    return PopularQueries(table["query"].to_list(), table["share"].to_list(), groups)


class _Learnt(NamedTuple):
    searches: int
    prior: float
    counts: pl.DataFrame
    best: list[str]


def _counted(searches: pl.DataFrame) -> pl.DataFrame:
    """Return (query, shoppers)."""
    return searches.group_by("query").agg(pl.col("user_id").n_unique().alias("shoppers"))


def _learn(members: pl.DataFrame, shares: pl.DataFrame, total: int) -> _Learnt | None:
    """Return what a group searches, or None if it is not known to differ from everyone.

    Counts are taken as Poisson around what everyone's share lets expect, times a gamma-distributed factor. How much the
    counts differ beyond chance says how much the factor varies, hence the prior (empirical Bayes, by moments).
    """
    pairs = members.select("user_id", "query").unique()
    searches = pairs.height
    rows = shares.join(_counted(pairs), on="query", how="left").with_columns(pl.col("shoppers").fill_null(0))
    expected = rows["share"].to_numpy() * searches
    surprise = (rows["shoppers"].to_numpy() - expected) ** 2 - expected * (1 - searches / total)
    varies = surprise.sum() / (expected**2).sum()
    counts = rows.filter(pl.col("shoppers") >= MIN_SHOPPERS)
    if varies <= _LEAST or counts.is_empty():
        return None
    prior = float(1 / varies)
    likely = pl.col("share") * (pl.col("shoppers") + prior) / (pl.col("share") * searches + prior)
    best = counts.sort(likely, descending=True, maintain_order=True)["query"].head(EACH).to_list()
    return _Learnt(searches, prior, counts.select("query", "shoppers"), best)


def _groups(searches: pl.DataFrame, profiles: pl.DataFrame | None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each group's name and searches. A thing that is the same for all would tell nothing."""
    for named in _named(searches, profiles):
        sizes = named.group_by("group").agg(pl.col("user_id").n_unique().alias("shoppers"))
        if sizes.height > 1:
            names = sizes.sort(["shoppers", "group"], descending=[True, False])["group"].head(_VALUES).to_list()
            parts = named.filter(pl.col("group").is_in(names)).partition_by("group", as_dict=True)
            yield from ((name, parts[name,]) for name in sorted(names))


def _named(searches: pl.DataFrame, profiles: pl.DataFrame | None) -> Iterator[pl.DataFrame]:
    """Yield, for each thing that is known of a search, the searches with the name of their `group`."""
    clocks = {hour: clock(hour) for hour in searches["hour"].unique()}
    timed = searches.with_columns(month=_renamed("hour", {hour: month for hour, (_, month) in clocks.items()}))
    yield searches.with_columns(group=_renamed("hour", {hour: part for hour, (part, _) in clocks.items()}))
    yield timed.rename({"month": "group"})
    if profiles is None:
        return
    if "consent" in profiles.columns:
        profiles = profiles.filter(pl.col("consent").fill_null(value=True))
    for field in [name for name, kind in profiles.schema.items() if kind == pl.String and name != "user_id"]:
        told = timed.join(profiles.select("user_id", field).drop_nulls(), on="user_id")
        names = {value: group(field, value) for value in told[field].unique()}
        yield told.with_columns(group=_renamed(field, names))
        if field == LANGUAGE_OF:
            yield told.with_columns(group=_renamed(field, {value: language(name) for value, name in names.items()}))
        if field == REGION and told["month"].n_unique() > 1:
            pairs = told.select("month", field).unique().iter_rows()
            joined = pl.concat_str("month", field, separator="\n")
            regional = {f"{month}\n{value}": in_region(month, value) for month, value in pairs}
            yield told.with_columns(joined.alias("group")).with_columns(group=_renamed("group", regional))


def _renamed(column: str, names: Mapping[Any, str]) -> pl.Expr:
    return pl.col(column).replace_strict(names, return_dtype=pl.String)

"""The features of the CTR ranker: one function, used when it learns and when it serves, so the two cannot differ.

No feature says which query it is, and none is a click rate of a query, so the ranker speaks of queries never exposed.
NaN means unknown; the trees know what to do with it.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.contracts.codecs import QUERY_TYPES, BehaviourEntry
from service.ranking.catalogue import Item
from service.ranking.fact_cache import FactCache, Rows
from service.ranking.query_stats import NUMBERS, Floats
from service.ranking.shopper_context import ShopperContext

VERSION: Final = 1
MAX_ENTRIES: Final = 20
"""The newest actions that count."""
SHOWN_LIMIT: Final = 20
_SHOPPER: Final = (
    "entries", "triggers", "hint_clicks", "purchases", "latest_hours", "script_share", "hour", "weekday",
)  # fmt: skip
_PAIR: Final = (
    "lift_segment", "lift_locale", "lift_profile",
    "same_query_hours", "near_query_hours", "same_script",
    "words_in_latest_search", "latest_search_kept", "words_in_searches", "words_in_recent_searches",
    "words_in_titles", "words_in_recent_titles",
    "category_latest", "category_hour", "category_days", "category_searched", "category_clicked", "category_carted",
    "category_bought", "category_hours", "category_bought_hours", "department_days",
    "after_seen", "after_bought", "brand_days", "price_gap", "shown",
)  # fmt: skip
FEATURES: Final = (*NUMBERS, *_SHOPPER, *_PAIR)
"""Names of the columns, in order."""

_HOUR_S: Final = 3600.0
_FAST_H: Final = 1.0
_SLOW_H: Final = 72.0
_MATCH: Final = 0.3
"""From this share of common categories on, an action counts as one in the query's category."""
_SEARCH, _CLICK, _CART, _PURCHASE = range(4)
_KINDS: Final[Mapping[str, int]] = {
    "search": _SEARCH, "hint_click": _SEARCH, "click": _CLICK, "cart": _CART, "purchase": _PURCHASE,
}  # fmt: skip
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _History:
    """The newest actions, newest first; row numbers are those of the fact cache."""

    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    hours: Matrix
    slow: Matrix
    """What an action counts for after its hours, shape (actions, 1)."""


def features(cache: FactCache, context: ShopperContext, queries: Sequence[str]) -> Floats:
    """Return the features, shape (queries, `FEATURES`)."""
    entries = [entry for entry in sorted(context.behaviour, key=lambda one: -one.ts) if entry.type in _KINDS]
    entries = entries[:MAX_ENTRIES]
    asked = [entry.ref for entry in entries if entry.type in QUERY_TYPES]
    bought = [item for entry in entries if (item := _item(context, entry)) is not None]
    rows, query_rows, item_rows = cache.rows(queries, asked, bought)
    history = _history(context, entries, query_rows, item_rows)
    matrix = np.empty((len(queries), len(FEATURES)), dtype=np.float32)
    numbers, shopper = len(NUMBERS), len(NUMBERS) + len(_SHOPPER)
    matrix[:, :numbers] = rows.numbers
    triggers = len(set(cache.keys[query_rows].tolist())) + len({e.ref for e in entries if e.type not in QUERY_TYPES})
    matrix[:, numbers:shopper] = _shopper(context, entries, triggers, cache, history)
    pair: list[NDArray[Any]] = [
        *_profile_lifts(cache, context.profile, rows),
        *_repeats(cache, history, rows),
        *_words(cache, history, rows),
        *_category(cache, history, rows),
        *_taste(cache, history, rows),
        _shown(cache, context, rows),
    ]
    for column, values in enumerate(pair, start=shopper):
        matrix[:, column] = values
    return matrix


def _item(context: ShopperContext, entry: BehaviourEntry) -> Item | None:
    return None if entry.type in QUERY_TYPES else context.items.get(entry.ref)


def _history(
    context: ShopperContext,
    entries: Sequence[BehaviourEntry],
    query_rows: NDArray[np.int64],
    item_rows: NDArray[np.int64],
) -> _History:
    """Leave out actions on items that the catalogue does not have."""
    asked, had = iter(query_rows.tolist()), iter(item_rows.tolist())
    rows, kinds, hours = [], [], []
    for entry in entries:
        if entry.type in QUERY_TYPES:
            rows.append(next(asked))
        elif entry.ref in context.items:
            rows.append(next(had))
        else:
            continue
        kinds.append(_KINDS[entry.type])
        hours.append(max(0.0, context.now - entry.ts) / _HOUR_S)
    ages = np.array(hours, dtype=np.float64)
    return _History(np.array(rows, dtype=np.int64), np.array(kinds, dtype=np.int64), ages, _decay(ages, _SLOW_H))


def _shopper(
    context: ShopperContext, entries: Sequence[BehaviourEntry], triggers: int, cache: FactCache, history: _History
) -> list[float]:
    """Return what is the same for all queries."""
    moment = time.gmtime(context.now)
    searches = history.rows[history.kinds == _SEARCH]
    return [
        len(entries),
        triggers,
        sum(entry.type == "hint_click" for entry in entries),
        sum(entry.type == "purchase" for entry in entries),
        math.log1p(max(0.0, context.now - entries[0].ts) / _HOUR_S) if entries else math.nan,
        float(cache.cjk[searches].mean()) if len(searches) else math.nan,
        moment.tm_hour,
        moment.tm_wday,
    ]


def _profile_lifts(cache: FactCache, profile: Mapping[str, str], rows: Rows) -> list[Floats]:
    """Return the lifts of the query among shoppers of this segment, of this locale, and of all else in the profile."""
    unknown = cache.lifts.shape[1] - 1
    places = {name: cache.stats.value_number.get((name, value), unknown) for name, value in sorted(profile.items())}
    others = [place for name, place in places.items() if name not in {"segment", "locale"} and place != unknown]
    told = [places.get("segment", unknown), places.get("locale", unknown), *others]
    segment, locale, *rest = cache.lifts[rows.places[:, None], told].T
    return [segment, locale, sum(rest) if rest else np.full(len(segment), np.nan, dtype=np.float32)]


def _repeats(cache: FactCache, history: _History, rows: Rows) -> list[Matrix]:
    """Return log hours since the query was asked, since a near-duplicate was, and whether the script is the usual."""
    searched = history.kinds == _SEARCH
    asked = history.rows[searched]
    hours = history.hours[searched]
    if not len(asked):
        nothing = np.full(len(rows.keys), np.nan)
        return [nothing, nothing, nothing]
    same = cache.keys[asked][:, None] == rows.keys
    near = cache.near[asked][:, None] == rows.near
    usual = (cache.cjk[asked][:, None] == rows.cjk).mean(axis=0)
    return [_latest(same, hours), _latest(near, hours), usual]


def _latest(match: NDArray[np.bool_], hours: Matrix) -> Matrix:
    """Return log(1 + hours) since the latest match by column, NaN without; `match` is (actions, queries)."""
    ages = np.where(match, hours[:, None], np.nan)
    found: Matrix = np.log1p(np.fmin.reduce(ages, axis=0, initial=np.nan))
    return found


def _decay(hours: Matrix, mean_hours: float) -> Matrix:
    found: Matrix = np.exp(-hours / mean_hours)[:, None]
    return found


def _words(cache: FactCache, history: _History, rows: Rows) -> list[Matrix]:
    """Return shares of the query's words, by rarity, that recent searches and titles hold."""
    shared, kept = cache.overlap(history.rows, rows)
    decayed = shared * history.slow
    search = history.kinds == _SEARCH
    nothing = np.zeros(len(rows.keys))
    return [
        shared[search][0] if search.any() else nothing,
        kept[search][0] if search.any() else nothing,
        shared[search].max(axis=0, initial=0.0),
        decayed[search].sum(axis=0),
        shared[~search].max(axis=0, initial=0.0),
        decayed[~search].sum(axis=0),
    ]


def _category(cache: FactCache, history: _History, rows: Rows) -> list[Matrix]:
    """Return how much of what the shopper did was in the query's categories, by kind and age."""
    match = cache.common_categories(history.rows, rows)
    slow = match * history.slow
    kinds = history.kinds
    inside = match >= _MATCH
    department = (cache.department[history.rows][:, None] == rows.department) & (rows.department >= 0)
    return [
        match[0] if len(match) else np.zeros(len(rows.keys)),
        (match * _decay(history.hours, _FAST_H)).sum(axis=0),
        slow.sum(axis=0),
        *(slow[kinds == kind].sum(axis=0) for kind in (_SEARCH, _CLICK, _CART, _PURCHASE)),
        _latest(inside, history.hours),
        _latest(inside[kinds == _PURCHASE], history.hours[kinds == _PURCHASE]),
        (department * history.slow).sum(axis=0),
    ]


def _taste(cache: FactCache, history: _History, rows: Rows) -> list[Matrix]:
    """Return what usually follows, the brand's recent actions, and how far the price tier is from the shopper's."""
    slow = history.slow
    item = history.kinds != _SEARCH
    bought = history.kinds == _PURCHASE
    brands = cache.brands[history.rows]
    same_brand = (brands[:, None] == rows.brands) & (brands >= 0)[:, None]
    tiers = cache.price_tiers[history.rows[item]]
    tiers = tiers[~np.isnan(tiers)]
    usual = float(tiers.mean()) if len(tiers) else math.nan
    return [
        cache.follow(cache.stats.after_seen, history.rows[item], slow[item, 0], rows),
        cache.follow(cache.stats.after_bought, history.rows[bought], slow[bought, 0], rows),
        (same_brand * slow).sum(axis=0),
        rows.price_tiers - usual,
    ]


def _shown(cache: FactCache, context: ShopperContext, rows: Rows) -> Matrix:
    if context.shown is None:
        return np.full(len(rows.places), np.nan)
    texts = [cache.texts[place] for place in rows.places.tolist()]
    return np.array([min(context.shown.get(text, 0), SHOWN_LIMIT) for text in texts], dtype=np.float64)

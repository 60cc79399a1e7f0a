"""A shopper's visits: which need comes to mind, what is searched, opened, put in the cart, bought."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workers.shop import queries
from workers.shop.catalogue import Catalogue, Item
from workers.shop.shoppers import Need, Shopper, after_purchase

_DAY = 86400.0
_VISITS_A_WEEK = 2.2
_NOISE_SHARE = 0.06
_SWITCH_SHARE = 0.25
# How a search moves on: from the category to the type, the attribute, the brand.
_STAGE_BY_DEPTH = (
    ("head", "type", "use_case", "gift"),
    ("type", "attribute"),
    ("attribute", "brand", "use_case"),
    ("brand", "attribute", "type"),
)
_STAGE_SHARES = ((0.55, 0.28, 0.13, 0.04), (0.5, 0.5), (0.5, 0.35, 0.15), (0.45, 0.35, 0.2))


def timeline(
    shopper: Shopper, catalogue: Catalogue, start: float, end: float, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Yield the shopper's events (log lines without user_id) between `start` and `end`, in time order."""
    visits = int(rng.integers(0, 2)) if shopper.cold else 1 + int(rng.poisson(_VISITS_A_WEEK * (end - start) / _DAY / 7 * rng.gamma(2, 0.5)))
    for number, begins in enumerate(np.sort(start + rng.random(visits) * (end - start))):
        moment = float(begins)
        session = f"{shopper.user_id}-{number}"
        length = 1 if shopper.cold else 1 + int(rng.geometric(0.45))
        need = _pick(shopper, moment, rng)
        for _ in range(length):
            if need is None:
                break
            for event in _search(shopper, need, catalogue, moment, rng):
                moment = event["ts"]
                if moment >= end:
                    return
                yield {**event, "session_id": session}
            moment += 20 + rng.exponential(60)
            if rng.random() < _SWITCH_SHARE:
                need = _pick(shopper, moment, rng)


def _pick(shopper: Shopper, now: float, rng: np.random.Generator) -> Need | None:
    """Return the need that is on the shopper's mind: recent and strong ones most."""
    alive = [need for need in shopper.needs if need.born <= now]
    if not alive:
        return min(shopper.needs, key=lambda need: need.born, default=None)
    weights = np.array([need.strength * 0.5 ** ((now - need.born) / need.half_life) + 1e-6 for need in alive])
    return alive[int(rng.choice(len(alive), p=weights / weights.sum()))]


def _search(
    shopper: Shopper, need: Need, catalogue: Catalogue, now: float, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    depth = min(need.stage, len(_STAGE_BY_DEPTH) - 1)
    stage = _STAGE_BY_DEPTH[depth][int(rng.choice(len(_STAGE_SHARES[depth]), p=_STAGE_SHARES[depth]))]
    text = queries.write(need.category, stage, need.type_index, need.value, need.brand, rng)
    yield {"type": "search", "ts": now, "query": text}
    need.stage += 1
    for _ in range(int(rng.choice(4, p=(0.25, 0.4, 0.25, 0.1)))):
        now += 8 + rng.exponential(35)
        item = _find(shopper, need, catalogue, rng)
        yield {"type": "click", "ts": now, "item_id": item.item_id}
        if rng.random() < 0.10 + 0.08 * min(need.stage, 3):
            now += 15 + rng.exponential(30)
            yield {"type": "cart", "ts": now, "item_id": item.item_id, "price": item.price, "quantity": 1}
            if rng.random() < 0.55:
                now += 30 + rng.exponential(90)
                yield {"type": "purchase", "ts": now, "item_id": item.item_id, "price": item.price, "quantity": 1}
                after_purchase(shopper, need, catalogue, now, rng)
                return


def _find(shopper: Shopper, need: Need, catalogue: Catalogue, rng: np.random.Generator) -> Item:
    """Return the item that the shopper opens: mostly one that fits the need."""
    items = catalogue.items[need.category.id]
    if rng.random() < _NOISE_SHARE:
        return items[int(rng.integers(len(items)))]
    tier = {"low": "value", "mid": "mid", "high": "premium"}[shopper.budget]
    fit = np.array(
        [
            1.0
            + 8.0 * (item.type_index == need.type_index)
            + 3.0 * (need.value in item.attributes.values())
            + 3.0 * (item.brand == need.brand)
            + 1.0 * (item.tier == tier)
            for item in items
        ]
    )
    fit = fit**2
    return items[int(rng.choice(len(items), p=fit / fit.sum()))]

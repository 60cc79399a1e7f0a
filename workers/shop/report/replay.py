"""Plays the first shoppers of a dataset again, exactly, and keeps what was on their minds at the cut-off.

The same seed gives the same lives, so the true state need not be stored with the logs. A query text that two
categories share means what the first to use it meant, so shoppers are played from the first on, in a fresh world.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset
from workers.shop.catalogue import GENERATOR_VERSION, Shop
from workers.shop.draws import Draws, Stream
from workers.shop.event_log import EventLog
from workers.shop.logging_policy import LoggingPolicy
from workers.shop.sessions import Visits
from workers.shop.shopper import Need, Shopper
from workers.shop.warm_up import learn
from workers.shop.world import World, live

MOST_UNLIKE: Final = 0.02
"""More shoppers than this share replayed otherwise means that the code has changed since."""


class Moment(NamedTuple):
    """A shopper about to begin a visit at `ts` (epoch seconds)."""

    shopper: Shopper
    ts: float


@dataclass(frozen=True, slots=True)
class Replay:
    """The world after the replay, the policy that showed hints, moments by user id, and each shopper's searches."""

    world: World
    policy: LoggingPolicy
    moments: dict[str, Moment]
    searches: dict[str, list[str]]


class _Watch(Visits):
    """Copies a shopper's state at the beginning of the visit asked for."""

    def __init__(self, world: World, policy: LoggingPolicy, visit_of: Mapping[str, int]) -> None:
        super().__init__(world.needs, world.clicks, world.rates, policy)
        self._visit_of = visit_of
        self.moments: dict[str, Moment] = {}

    def play(self, shopper: Shopper, ts: float, log: EventLog) -> float:
        self._look(shopper, ts)
        return super().play(shopper, ts, log)

    def play_cold(self, shopper: Shopper, ts: float, log: EventLog) -> None:
        self._look(shopper, ts)
        super().play_cold(shopper, ts, log)

    def _look(self, shopper: Shopper, ts: float) -> None:
        if self._visit_of.get(shopper.user_id) == shopper.sessions + 1:
            self.moments[shopper.user_id] = Moment(branch(shopper, shopper.draws), ts)


def branch(shopper: Shopper, draws: Draws) -> Shopper:
    """Return a copy whose life goes on by other draws. Interests never change, so they are shared."""
    return replace(
        shopper,
        draws=draws,
        needs=[_copied(need) for need in shopper.needs],
        pending=[(opens, n, _copied(need)) for opens, n, need in shopper.pending],
        tastes={category: replace(taste) for category, taste in shopper.tastes.items()},
        traits=dict(shopper.traits),
        favourites=dict(shopper.favourites),
        bought=dict(shopper.bought),
        searched=dict(shopper.searched),
        shown=dict(shopper.shown),
        trail=list(shopper.trail),
    )


def _copied(need: Need) -> Need:
    return replace(need, values=list(need.values), opened=list(need.opened))


def replay(dataset: Dataset, shoppers: int, visit_of: Mapping[str, int], shop: Shop) -> Replay:
    """Play the first `shoppers` again; `visit_of` maps user ids to the number of the visit to stop at.

    Raises:
        ArtefactError: this shop is not the one that made the dataset.
    """
    manifest = dataset.manifest
    made_by, now = (manifest.get("shop_hash"), manifest.get("generator")), (shop.hash, GENERATOR_VERSION)
    if made_by != now:
        raise ArtefactError(f"{dataset.root}: made by shop {made_by[0]}, this is {now[0]}; generate it again")
    start, end = (datetime.fromisoformat(manifest[key]).timestamp() for key in ("from", "to"))
    world = World.read(shop=shop)
    policy = learn(world, manifest["seed"], start, manifest["policy"]["warm_up"])
    watch = _Watch(world, policy, visit_of)
    searches: dict[str, list[str]] = {}
    for index in range(min(shoppers, manifest["shoppers"])):
        log = EventLog()
        shopper, _ = live(world, watch, (manifest["seed"], Stream.SHOPPERS, index), (start, end), log)
        searches[shopper.user_id] = [row[3] for row in log.rows if row[2] == "search" and row[3] is not None]
    return Replay(world, policy, watch.moments, searches)


def unlike(dataset: Dataset, played: Replay, events: pl.DataFrame, shoppers: int) -> set[str]:
    """Return who of the first `shoppers` searched otherwise, when played again, than the `events` say.

    Raises:
        ArtefactError: too many did.
    """
    logged = events.filter(pl.col("type") == "search").group_by("user_id", maintain_order=True).agg("query")
    searches = dict(logged.iter_rows())
    found = {user for user, texts in played.searches.items() if texts != searches.get(user, [])}
    if len(found) > MOST_UNLIKE * shoppers:
        raise ArtefactError(
            f"{dataset.root}: {len(found)} of {shoppers} shoppers live otherwise when played again; "
            "the code has changed since: generate it again"
        )
    return found

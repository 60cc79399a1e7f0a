"""Generate a dataset shopper by shopper, in row groups of a fixed size: memory does not grow with their number."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from workers.common.dataset import ITEM_SCHEMA, ITEMS, PROFILE_SCHEMA, PROFILES, TRUTH, DatasetWriter
from workers.shop.catalogue import GENERATOR_VERSION, Shop
from workers.shop.draws import Stream
from workers.shop.event_log import EventLog
from workers.shop.logging_policy import NAME
from workers.shop.people import DAY_S
from workers.shop.shopper import Shopper
from workers.shop.warm_up import SHOPPERS, learn
from workers.shop.world import World, live

END: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""Logs end here unless told otherwise: the same command gives the same files on any day."""
SHOPPERS_PER_GROUP: Final = 1000
GROUPS_PER_PART: Final = 20
MAX_SHOPPERS: Final = 9_999_999
TRUTH_SHOPPERS: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("nature", pa.string(), nullable=False),
        pa.field("life_events", pa.list_(pa.string()), nullable=False),
    ]
)


@contextmanager
def _no_cycle_search() -> Iterator[None]:
    """Spare the search for reference cycles: events and shoppers form none, and it costs a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def item_table(shop: Shop) -> pa.Table:
    """Return the catalogue in the dataset's schema."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": item.id,
                "title": item.title,
                "category": item.category.path,
                "brand": item.category.brands[item.brand].name,
                "price": item.price,
                "seller_id": item.seller,
                "attributes": item.attributes(),
            }
            for item in shop.items()
        ],
        schema=ITEM_SCHEMA,
    )


def generate(
    root: Path,
    *,
    shoppers: int,
    days: int,
    seed: int,
    overwrite: bool = False,
    shop: Shop | None = None,
    warm_up: int = SHOPPERS,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write a dataset of `shoppers` over `days` that end at `END`; return its manifest.

    `shop` spares reading the catalogue again; `warm_up` shoppers of an earlier month teach the logging policy;
    `advance` is told the number of shoppers done since the last call.

    Raises:
        ArtefactError: `root` is there already.
        ConfigError: a data file of the shop is wrong.
    """
    with DatasetWriter(root, overwrite=overwrite) as writer, _no_cycle_search():
        world = World.read(shop=shop)
        end = END.timestamp()
        span = (end - days * DAY_S, end)
        writer.write(ITEMS, item_table(world.shop))
        visits = world.visits(learn(world, seed, span[0], warm_up))
        natures = {"regular": 0, "cold": 0, "bot": 0}
        for group, first in enumerate(range(0, shoppers, SHOPPERS_PER_GROUP)):
            log, people = EventLog(), []
            for index in range(first, min(first + SHOPPERS_PER_GROUP, shoppers)):
                shopper, nature = live(world, visits, (seed, Stream.SHOPPERS, index), span, log)
                natures[nature] += 1
                people.append((shopper, nature))
            writer.write_events(group // GROUPS_PER_PART, log.events())
            writer.write(f"{TRUTH}/clicks.parquet", log.truth_table())
            writer.write(PROFILES, _profiles([shopper for shopper, _ in people]))
            writer.write(f"{TRUTH}/shoppers.parquet", _truth([(s.user_id, n, s.life_events) for s, n in people]))
            advance(len(people))
        manifest = {
            "source": "shop",
            "generator": GENERATOR_VERSION,
            "shop_hash": world.shop.hash,
            "seed": seed,
            "shoppers": shoppers,
            "days": days,
            "items": len(world.shop.items()),
            "from": datetime.fromtimestamp(span[0], UTC).isoformat(),
            "to": END.isoformat(),
            "natures": natures,
            "noise_share": world.rates.noise_share,
            "policy": {"name": NAME, "epsilon": world.rates.epsilon, "warm_up": warm_up},
        }
        writer.close(manifest)
    return {"events": writer.events, **manifest}


def _profiles(shoppers: list[Shopper]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "user_id": shopper.user_id,
                "segment": shopper.profile.segment.id,
                "budget": shopper.profile.budget,
                "region": shopper.profile.region.id,
                "locale": shopper.profile.locale,
                "consent": shopper.profile.consent,
            }
            for shopper in shoppers
        ],
        schema=PROFILE_SCHEMA,
    )


def _truth(rows: list[tuple[str, str, list[str]]]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, TRUTH_SHOPPERS, strict=True)],
        schema=TRUTH_SHOPPERS,
    )

"""What rankers are told of a shopper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.contracts.codecs import BehaviourEntry
from service.ranking.catalogue import Item


@dataclass(frozen=True, slots=True)
class ShopperContext:
    """What is known of a shopper at `now` (epoch seconds); `behaviour` in any order, `items` those that it names.

    `shown`: normalised query -> how often it was shown since the shopper last clicked or searched it; None if nobody
    keeps count, which is not the same as never.
    """

    now: float
    behaviour: Sequence[BehaviourEntry] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, Item] = field(default_factory=dict)
    shown: Mapping[str, int] | None = None

"""Who and when is kept apart: the one split that training, baselines, tuning and evaluation share.

Shoppers are split by hash, so a shopper is in the same part in every run and every tool. Time is split once: nothing
is learned from the last share of the period, and what shoppers do there is what is foretold.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

Part = Literal["train", "judge", "validation", "test"]
PARTS: Final[tuple[tuple[Part, float], ...]] = (("train", 0.65), ("judge", 0.1), ("validation", 0.05), ("test", 0.2))
"""`judge`: the second CTR ranker learns from them; `validation`: baselines and recipes are tuned on them."""
HELD_OUT_PERIOD: Final = 1 / 6


def part_of(user_id: str) -> Part:
    """Return the part that a shopper belongs to."""
    digest = hashlib.blake2b(f"split:{user_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    for part, share in PARTS:
        if place < share:
            return part
        place -= share
    return PARTS[-1][0]


def cut_off(manifest: Mapping[str, Any]) -> float:
    """Return the moment (epoch seconds) from which on nothing is learned; `manifest` is a dataset's."""
    first, last = (datetime.fromisoformat(manifest[key]).timestamp() for key in ("from", "to"))
    return last - HELD_OUT_PERIOD * (last - first)

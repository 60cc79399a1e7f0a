"""What OpenAPI shows of `/v1/hints`: a request, an answer, and one that says why."""

from typing import Any, Final

INLINE: Final[dict[str, Any]] = {
    "actions": [{"type": "click", "item_id": "outd-tents-0001"}, {"type": "search", "query": "tent"}],
    "profile": {"segment": "outdoor fan"},
    "k": 6,
}
_BAG: Final = {"query": "sleeping bag", "source": "x2q", "score": 1.2, "trigger": "item:outd-tents-0001"}
_STOVE: Final = {"query": "camping stove", "source": "u2q", "score": 1.0, "trigger": None}
ANSWER: Final[dict[str, Any]] = {
    "request_id": "0f8c2a5be1d94c7f8a30d2f8c1b7e6a5",
    "hints": [_BAG, _STOVE],
    "experiment": "default",
    "degraded": [],
    "age_s": 12.4,
}


def _features(**others: float | str | None) -> dict[str, float | str | None]:
    plain = {"weight": 1.0, "written": 1.0, "rank": 0, "trigger_age_s": None, "seen": 0}
    return {**plain, "category": "Outdoors > Camping > Stoves", "finds": 41, **others}


_EXPLAINED: Final = {
    "propensity": [1.0, 1.0],
    "triggers": ["item:outd-tents-0001"],
    "candidates": [
        {
            **_BAG,
            "dropped": None,
            "into": None,
            "features": _features(weight=1.2, trigger_age_s=3.2, category="Outdoors > Camping > Sleeping Bags"),
        },
        {**_STOVE, "dropped": None, "into": None, "features": _features(seen=2)},
        {
            **_STOVE,
            "query": "camping stoves",
            "score": 0.6309,
            "dropped": "merged",
            "into": "camping stove",
            "features": _features(written=0.6309, rank=1, seen=2),
        },
    ],
}
ANSWERS: Final[dict[str, Any]] = {
    "plain": {"summary": "Hints", "value": ANSWER},
    "explained": {"summary": "With explain=true and the token", "value": {**ANSWER, "explained": _EXPLAINED}},
}

"""The shopper's own list and recent behaviour, in one round trip."""

from collections import Counter
from dataclasses import dataclass, field

from service.clustered import Pipelined
from service.contracts import lua
from service.contracts.codecs import (
    MAX_VALUE_BYTES,
    BehaviourEntry,
    Profile,
    QueryList,
    decode_behaviour,
    decode_list,
    decode_profile,
    decode_seen,
)
from service.contracts.errors import CorruptValue
from service.contracts.keys import Keys
from service.metrics import CORRUPT
from service.ranking.candidates import from_u2q
from service.ranking.merge import Proposal


@dataclass(slots=True)
class Shopper:
    """What Redis knows of a shopper; `behaviour` is newest first, `tired` the near keys of hints seen too often."""

    behaviour: list[BehaviourEntry] = field(default_factory=list)
    profile: dict[str, str] = field(default_factory=dict)
    u2q: QueryList | None = None
    consent: bool = True
    tired: set[str] = field(default_factory=set)


async def read_shopper(
    redis: Pipelined, keys: Keys, sid: str, events: int, fatigue_after: int, timeout_s: float
) -> Shopper:
    """Read u2q, the last `events` actions, the profile, and which hints were seen `fatigue_after` times.

    A broken value is a miss, counted. So is a list that is too long, or a key of another type: they are not fetched.

    Raises:
        StoreUnavailable: Redis did not answer within `timeout_s`, or its own timeout.
    """
    wanted = keys.of_request(sid)
    raw_u2q, raw_behaviour, raw_profile, raw_tired, left = await redis.execute(
        "EVAL", lua.READ, len(wanted), *wanted, events, fatigue_after, MAX_VALUE_BYTES, timeout_s=timeout_s
    )
    for kind, reason in zip(left[::2], left[1::2], strict=True):
        CORRUPT.labels(kind.decode(), reason.decode()).inc()
    shopper = Shopper()
    shopper.behaviour, reasons = decode_behaviour(sid, raw_behaviour)
    for reason in reasons:
        CORRUPT.labels("behaviour", reason).inc()
    shopper.tired, reasons = decode_seen(sid, raw_tired)
    for reason in reasons:
        CORRUPT.labels("seen", reason).inc()
    try:
        shopper.u2q = decode_list(sid, raw_u2q) if raw_u2q is not None else None
    except CorruptValue as error:
        CORRUPT.labels("u2q", error.reason).inc()
    try:
        profile = decode_profile(sid, raw_profile) if raw_profile is not None else Profile(consent=True, fields={})
        shopper.profile, shopper.consent = dict(profile.fields), profile.consent
    except CorruptValue as error:
        CORRUPT.labels("profile", error.reason).inc()
    return shopper


async def read_times_seen(redis: Pipelined, keys: Keys, sid: str, timeout_s: float) -> dict[str, int]:
    """Return how often each hint was seen lately and not clicked since, by near key: for who asks why.

    Raises:
        StoreUnavailable: Redis did not answer within `timeout_s`, or its own timeout.
    """
    raws = await redis.execute("LRANGE", keys.seen(sid), 0, -1, timeout_s=timeout_s)
    return {key: count for raw, count in Counter(raws).items() for key in decode_seen(sid, [raw])[0]}


def recall(u2q: QueryList | None) -> list[Proposal]:
    """Return the list's queries."""
    return from_u2q(u2q.queries) if u2q is not None else []

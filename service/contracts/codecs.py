"""Values in Redis: JSON arrays that begin with a schema version and an owner.

A reader that meets another version or another owner treats the value as a miss (`CorruptValue`): a client bug that
shifts replies by one must never show one shopper another's hints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import orjson

from service.contracts.errors import CorruptValue
from service.contracts.text import near_key

VERSION: Final = 1
LIST_VERSION: Final = 3
MAX_VALUE_BYTES: Final = 65_536
"""What is longer is not parsed. The longest that is written, a list of fifty queries of 200 characters, has 45 kB."""
_SCORE_UNIT: Final = 10_000
"""Scores are stored as whole ten-thousandths: fewer bytes than decimals."""
_OWNER_CHARS: Final = 10
_TEXT: Final = frozenset({str})
_NUMBERS: Final = frozenset({int, float})
_made: Final = tuple.__new__
"""A named tuple without the function that a NamedTuple's constructor is: a request makes thirty."""
QUERY_TYPES: Final = frozenset({"search", "hint_click"})
"""Actions whose `BehaviourEntry.ref` is a query; of all others it is an item id."""


Origin = Literal["generated", "retrieved"]
"""Of a query in a shopper's own list: the model wrote it, or a ranker found it by counts and words."""


class ScoredQuery(NamedTuple):
    """A query and its written-time score in [0, 2] (`service.ranking.merge`)."""

    query: str
    score: float


@dataclass(frozen=True, slots=True)
class QueryList:
    """A generated list: `seq` of the behaviour it saw (0 for x2q), when (epoch ms), by which model.

    `digest` names all that it was made from (`workers.direct.lists`), `generated_ms` is when it was written or last
    found to be what would be written again. `retrieved` has bit n set if the model did not write query n: counts and
    words found it.
    """

    seq: int
    generated_ms: int
    model: str
    queries: tuple[ScoredQuery, ...]
    digest: str = ""
    retrieved: int = 0

    @property
    def origins(self) -> dict[str, Origin]:
        """Who each query is from."""
        return {
            one.query: "retrieved" if self.retrieved >> at & 1 else "generated" for at, one in enumerate(self.queries)
        }

    @property
    def texts(self) -> list[str]:
        """The queries without scores."""
        return [one.query for one in self.queries]


class BehaviourEntry(NamedTuple):
    """One recent action of a shopper: `ref` is a query if `type` is one of `QUERY_TYPES`, else an item id."""

    type: str
    ts: float
    ref: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a shopper's profile says; without consent the fields are empty."""

    consent: bool
    fields: Mapping[str, str]


def _owner(owner: str) -> str:
    return owner[:_OWNER_CHARS] if not owner.startswith(("item:", "category:", "query:", "segment:")) else owner


def _open(raw: bytes, owner: str, length: int, version: int = VERSION, *, more: bool = False) -> list[Any]:
    """Return the array after its version and owner: `length` fields, or `more`."""
    if len(raw) > MAX_VALUE_BYTES:
        raise CorruptValue("size")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise CorruptValue("json") from None
    if not isinstance(value, list) or not value:
        raise CorruptValue("shape")
    if value[0] != version:
        raise CorruptValue("version")
    if len(value) < length + 2 or (len(value) > length + 2 and not more):
        raise CorruptValue("shape")
    if value[1] != _owner(owner):
        raise CorruptValue("owner")
    return value[2:]


def encode_list(owner: str, value: QueryList) -> bytes:
    """Return the bytes of a u2q value (`owner` = sid) or an x2q value (`owner` = trigger)."""
    pairs = [part for q in value.queries for part in (q.query, round(q.score * _SCORE_UNIT))]
    head = [LIST_VERSION, _owner(owner), value.seq, value.generated_ms, value.model, value.digest, value.retrieved]
    return orjson.dumps(head + pairs)


def decode_list(owner: str, raw: bytes) -> QueryList:
    """Return the list that `encode_list` wrote for the same owner.

    Raises:
        CorruptValue: broken, too long, another version, or another owner's.
    """
    seq, generated_ms, model, digest, retrieved, *pairs = _open(raw, owner, 5, LIST_VERSION, more=True)
    texts, scores = pairs[::2], pairs[1::2]
    if not (
        len(texts) == len(scores) and _TEXT.issuperset(map(type, texts)) and _NUMBERS.issuperset(map(type, scores))
    ):
        raise CorruptValue("shape")
    queries = tuple(
        [_made(ScoredQuery, (text, score / _SCORE_UNIT)) for text, score in zip(texts, scores, strict=True)]
    )
    try:
        return QueryList(
            int(_number(seq)), int(_number(generated_ms)), _text(model), queries, _text(digest), int(_number(retrieved))
        )
    except (TypeError, ValueError):
        raise CorruptValue("shape") from None


def encode_behaviour(sid: str, entry: BehaviourEntry) -> bytes:
    """Return the bytes of one entry of the behaviour list."""
    return orjson.dumps([VERSION, _owner(sid), entry.type, round(entry.ts, 3), entry.ref])


def decode_behaviour(sid: str, raws: Sequence[bytes]) -> tuple[list[BehaviourEntry], list[str]]:
    """Return the readable entries, in the order given, and the reason for each that was not."""
    entries: list[BehaviourEntry] = []
    reasons: list[str] = []
    owner = _owner(sid)
    for raw in raws:
        if len(raw) > MAX_VALUE_BYTES:
            reasons.append("size")
            continue
        try:
            match orjson.loads(raw):
                # A request reads twenty: those that are as they were written need no more than a look.
                case [version, whose, kind, ts, ref] if (
                    version == VERSION and whose == owner and type(kind) is type(ref) is str and type(ts) is float
                ):
                    entries.append(_made(BehaviourEntry, (kind, ts, ref)))
                    continue
            kind, ts, ref = _open(raw, sid, 3)
            entries.append(BehaviourEntry(_text(kind), float(_number(ts)), _text(ref)))
        except orjson.JSONDecodeError:
            reasons.append("json")
        except CorruptValue as error:
            reasons.append(error.reason)
        except (TypeError, ValueError):
            reasons.append("shape")
    return entries, reasons


def encode_seen(sid: str, query: str) -> bytes:
    """Return the bytes of a hint that was seen or clicked: the same for near-duplicates."""
    return orjson.dumps([VERSION, _owner(sid), near_key(query)])


def decode_seen(sid: str, raws: Sequence[bytes]) -> tuple[set[str], list[str]]:
    """Return the near keys of the readable hints, and the reason for each that was not."""
    keys: set[str] = set()
    reasons: list[str] = []
    for raw in raws:
        try:
            keys.add(_text(_open(raw, sid, 1)[0]))
        except CorruptValue as error:
            reasons.append(error.reason)
        except TypeError:
            reasons.append("shape")
    return keys, reasons


def encode_profile(sid: str, profile: Profile) -> bytes:
    """Return the bytes of a profile."""
    return orjson.dumps([VERSION, _owner(sid), profile.consent, dict(profile.fields)])


def decode_profile(sid: str, raw: bytes) -> Profile:
    """Return the profile that `encode_profile` wrote for the same shopper.

    Raises:
        CorruptValue: broken, too long, another version, or another owner's.
    """
    consent, fields = _open(raw, sid, 2)
    if not isinstance(consent, bool) or not isinstance(fields, dict):
        raise CorruptValue("shape")
    if not all(isinstance(value, str) for value in fields.values()):
        raise CorruptValue("shape")
    return Profile(consent, fields)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return value

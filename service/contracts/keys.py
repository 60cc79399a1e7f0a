"""Every Redis key is built here, with its TTL or the reason why it has none.

The hash tag is the partition (`{p017}`), so that what one event touches shares one cluster slot
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
A shopper appears in keys only as `sid`, a hash of the user id: keys have a fixed length and carry no personal data.
"""

import base64
import calendar
import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache

from service.contracts.text import normalise

_SID_BYTES = 16
_MAX_TRIGGER_BYTES = 80
_VERSION_TIME = "%Y%m%dT%H%M%S"

Trigger = str
"""What x2q is keyed by: `item:<id>`, `category:<path>`, `query:<normalised query>` or `segment:<of the profile>`."""


_lately = lru_cache(maxsize=1024)
"""A request asks for the same shopper several times."""


@_lately
def shopper_sid(user_id: str) -> str:
    """Return the 22-character key of a shopper: BLAKE2b of the user id, base64url."""
    digest = hashlib.blake2b(user_id.encode("utf-8"), digest_size=_SID_BYTES).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def item_trigger(item_id: str) -> Trigger:
    """Return the trigger of an item."""
    return f"item:{item_id}"


def category_trigger(category: str) -> Trigger:
    """Return the trigger of a category path."""
    return f"category:{category}"


def query_trigger(query: str) -> Trigger:
    """Return the trigger of a query, equal for equal queries."""
    return f"query:{normalise(query)}"


def segment_trigger(segment: str) -> Trigger:
    """Return the trigger of a shopper of whom only the profile's segment is known."""
    return f"segment:{segment}"


def trigger_kind(trigger: Trigger) -> str:
    """Return `item`, `category`, `query` or `segment`."""
    return trigger.split(":", 1)[0]


@_lately
def _place(sid: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(sid[:8] + "=" * (-len(sid[:8]) % 4)), "big")


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds keys for one namespace and partition count."""

    namespace: str
    partitions: int

    def partition(self, sid: str) -> int:
        """Return the partition of a shopper, 0 <= p < P."""
        return _place(sid) % self.partitions

    def _shard(self, partition: int) -> str:
        return f"{self.namespace}:{{p{partition:03d}}}"

    # One shopper. All expire `behaviour.ttl_s` after the last event, u2q after `direct.u2q_ttl_s`.

    def behaviour(self, sid: str) -> str:
        """List of behaviour entries, newest first."""
        return f"{self._shard(self.partition(sid))}:b:{sid}"

    def state(self, sid: str) -> str:
        """Hash: `seq`, `u2q_seq`, `deadline` (ms), `consent`; with a cooldown `done` (ms)."""
        return f"{self._shard(self.partition(sid))}:s:{sid}"

    def profile(self, sid: str) -> str:
        """String: the encoded profile."""
        return f"{self._shard(self.partition(sid))}:pr:{sid}"

    def u2q(self, sid: str) -> str:
        """String: the encoded list that Direct wrote."""
        return f"{self._shard(self.partition(sid))}:u2q:{sid}"

    def seen(self, sid: str) -> str:
        """List of the hints seen and not clicked since, newest first; lives as long after the last one."""
        return f"{self._shard(self.partition(sid))}:se:{sid}"

    def of_request(self, sid: str) -> tuple[str, str, str, str]:
        """Return the keys that a request reads: list, behaviour, profile, hints seen. The partition is found once."""
        shard = self._shard(self.partition(sid))
        return f"{shard}:u2q:{sid}", f"{shard}:b:{sid}", f"{shard}:pr:{sid}", f"{shard}:se:{sid}"

    # One partition. No TTL but where one is told: these are queues, emptied by workers; losing one loses refreshes.

    def due(self, partition: int) -> str:
        """Sorted set: sid -> due time (ms), or minus the time of a mark ahead of others; while leased, the expiry."""
        return f"{self._shard(partition)}:due"

    def leases(self, partition: int) -> str:
        """Hash: sid -> token of the worker's claim."""
        return f"{self._shard(partition)}:leases"

    def tries(self, partition: int) -> str:
        """Hash: sid -> tries in a row that failed; expires `behaviour.ttl_s` after the last failure."""
        return f"{self._shard(partition)}:tries"

    def dead(self, partition: int) -> str:
        """Hash: sid -> [when (ms), tries, reason] of dead letters; expires `behaviour.ttl_s` after the last one."""
        return f"{self._shard(partition)}:dead"

    def events(self, partition: int) -> str:
        """Stream of log lines, capped by `redis.stream_maxlen`."""
        return f"{self._shard(partition)}:events"

    # Shared. The pointer and P have no TTL: they are configuration.

    def partition_count(self) -> str:
        """String: P, written once, checked by every process at start."""
        return f"{self.namespace}:partitions"

    def sink_lease(self) -> str:
        """String: the token of the sink that drains; lives `sink.lease_s` after its last sign."""
        return f"{self.namespace}:sink"

    def x2q_pointer(self) -> str:
        """String: the current x2q version."""
        return f"{self.namespace}:x2q"

    def x2q_info(self, version: str) -> str:
        """String: what a version holds (JSON), same life as its lists."""
        return f"{self.namespace}:x2q:{version}"

    def x2q_contexts(self, version: str) -> str:
        """Hash: trigger -> digest of what its list was made from, same life as the version's lists."""
        return f"{self.namespace}:x2q:{version}:contexts"

    def x2q_reasons(self, version: str) -> str:
        """Hash: trigger -> the rationale of its list, for operators alone, same life as the version's lists."""
        return f"{self.namespace}:x2q:{version}:reasons"

    def x2q(self, version: str, trigger: Trigger) -> str:
        """String: the encoded list of a trigger; no TTL while current, `think.keep_previous_s` once replaced."""
        if len(trigger.encode()) > _MAX_TRIGGER_BYTES:
            trigger = f"{trigger_kind(trigger)}#{hashlib.blake2b(trigger.encode(), digest_size=_SID_BYTES).hexdigest()}"
        return f"{self.namespace}:x2q:{version}:{trigger}"

    def x2q_pattern(self, version: str = "") -> str:
        """SCAN pattern of the keys of one version, or of all."""
        return f"{self.namespace}:x2q:{version}*"

    def x2q_version(self, key: str) -> str:
        """Return the version that a key found by `x2q_pattern` belongs to."""
        return key.removeprefix(f"{self.namespace}:x2q:").split(":", 1)[0]


def version_name(now: float, salt: str) -> str:
    """Return the name of an x2q version made at `now` (epoch seconds): it sorts by time."""
    return f"{time.strftime(_VERSION_TIME, time.gmtime(now))}{int(now * 1000) % 1000:03d}-{salt}"


def named_at(version: str | None) -> float:
    """Return when a version got its name (epoch seconds); 0 without one, or if it is not by `version_name`."""
    try:
        return float(calendar.timegm(time.strptime((version or "").split("-")[0][:-3], _VERSION_TIME)))
    except ValueError:
        return 0.0

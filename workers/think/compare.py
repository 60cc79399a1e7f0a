"""What a version changes against another one: for eyes (`aigq think diff`) and for the check before the flip."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from service.contracts.keys import Trigger, trigger_kind
from workers.think.publish import X2QStore

_BATCH: Final = 1000
_KEPT: Final = 0.5
"""A list that keeps a smaller share of its queries is another list."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A trigger's queries in both versions, and why the newer ones, if the model said so."""

    trigger: Trigger
    before: Sequence[str]
    after: Sequence[str]
    reasons: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """`lists`: kind of trigger -> lists (before, after). `shared` triggers have a list in both.

    `touched`: shared lists that are not the same word by word; `changed`: those that lost half of their queries.
    """

    before: str
    after: str
    lists: Mapping[str, tuple[int, int]]
    added: int
    removed: int
    shared: int
    touched: int
    changed: int
    samples: Sequence[Sample]

    @property
    def changed_share(self) -> float:
        """Share of shared lists that changed; 0 without any."""
        return self.changed / self.shared if self.shared else 0.0


async def compare(store: X2QStore, before: str, after: str, samples: int = 5) -> Difference:
    """Compare two versions; show `samples` of what changed, or was touched: always the same ones."""
    sides = [set(await store.contexts(version)) for version in (before, after)]
    lists: dict[str, Counter[int]] = {}
    counts: Counter[str] = Counter()
    shown: list[tuple[bool, bytes, Sample]] = []
    triggers = sorted(sides[0] | sides[1])
    for start in range(0, len(triggers), _BATCH):
        batch = triggers[start : start + _BATCH]
        old, new = [await store.lists(version, batch) for version in (before, after)]
        for trigger in batch:
            for side, found in enumerate((old, new)):
                lists.setdefault(trigger_kind(trigger), Counter())[side] += trigger in found
            if trigger not in old or trigger not in new:
                counts["added"] += trigger in new
                counts["removed"] += trigger in old
                continue
            counts["shared"] += 1
            one, other = old[trigger].texts, new[trigger].texts
            if one == other:
                continue
            changed = len(set(one) & set(other)) < _KEPT * len(one)
            counts["touched"] += 1
            counts["changed"] += changed
            place = hashlib.blake2b(trigger.encode(), digest_size=8).digest()
            shown = sorted([*shown, (not changed, place, Sample(trigger, one, other))], key=lambda s: s[:2])[:samples]
    reasons = await store.reasons(after, [sample.trigger for _, _, sample in shown])
    by_kind = {kind: (sides[0], sides[1]) for kind, sides in sorted(lists.items())}
    return Difference(
        before,
        after,
        by_kind,
        added=counts["added"],
        removed=counts["removed"],
        shared=counts["shared"],
        touched=counts["touched"],
        changed=counts["changed"],
        samples=[replace(sample, reasons=reasons.get(sample.trigger, "")) for _, _, sample in shown],
    )

"""Shoppers for benchmarks of the nearline path: the last actions of real ones, and the prompts that tell them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ConfigError
from service.ranking.catalogue import Catalogue
from workers.common.dataset import Dataset
from workers.common.prompt import Action, render_plain, with_candidates
from workers.common.ranked_list import Ranker
from workers.common.shopper_prompt import retrieved, shopper_context, shopper_prompt

_ACTIONS: Final = 12
_AGE_S: Final = 20.0
"""Age of the newest action when its prompt is written; the one before it is as much older as it was."""


@dataclass(frozen=True)
class Visitor:
    """A shopper of the benchmark; `actions` are (type, age in seconds, query or item id), oldest first."""

    user_id: str
    actions: Sequence[tuple[str, float, str]]

    def events(self, now: float) -> list[dict[str, Any]]:
        """Return what the front end would have posted."""
        return [
            {
                "user_id": self.user_id, "type": kind, "ts": now - age,
                ("query" if kind == "search" else "item_id"): ref,
            }
            for kind, age, ref in self.actions
        ]  # fmt: skip

    def prompt(self, catalogue: Catalogue, now: float, ranker: Ranker | None = None, candidates: int = 0) -> str:
        """Return what the worker renders of it."""
        entries = [BehaviourEntry(kind, now - age, ref) for kind, age, ref in reversed(self.actions)]
        context = shopper_context(entries, {}, catalogue, now)
        _, told = retrieved(ranker, context, catalogue, candidates)
        return with_candidates(shopper_prompt(context), told)

    def plain_prompt(self, catalogue: Catalogue, now: float) -> str:
        """Return the same actions in plain language with full titles, which compression is measured against."""
        items = catalogue.items([ref for kind, _, ref in self.actions if kind != "search"])
        told = [
            Action(kind, now - age, ref if kind == "search" else items[ref].title)
            for kind, age, ref in self.actions
            if kind == "search" or ref in items
        ]
        return render_plain(told, {}, now)


def visitors(dataset: Dataset, number: int) -> list[Visitor]:
    """Return `number` shoppers with the last actions of real ones, moved to the present.

    Raises:
        ConfigError: there are fewer with enough actions.
    """

    def windows() -> Iterator[Visitor]:
        for user_id, rows in dataset.shoppers(["ts", "type", "query", "item_id"]):
            acted = [
                (row["type"], row["ts"], row["query"] if row["type"] == "search" else row["item_id"])
                for row in rows.iter_rows(named=True)
                if row["type"] in {"search", "click", "cart"}
            ]
            for end in range(len(acted), _ACTIONS - 1, -_ACTIONS):
                part = acted[end - _ACTIONS : end]
                ages = [(kind, _seconds(part[-1][1] - ts) + _AGE_S, ref) for kind, ts, ref in part]
                yield Visitor(f"bench-{user_id}-{end}", ages)

    found = list(islice(windows(), number))
    if len(found) < number:
        raise ConfigError(
            f"{dataset.root} has {len(found)} stretches of {_ACTIONS} actions, {number} are needed; "
            "name a larger dataset with --data, or ask for fewer shoppers or seconds"
        )
    return found


def _seconds(gap: Any) -> float:
    return float(gap.total_seconds() if hasattr(gap, "total_seconds") else gap)

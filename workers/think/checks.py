"""What a version must be to become current: looked at beside the one before, before the pointer moves."""

from collections.abc import Callable, Mapping

from service.contracts.codecs import QueryList
from service.contracts.keys import Trigger
from service.contracts.settings import ThinkSettings
from service.ranking.filter import reject_reason
from workers.think.compare import Difference


def problems(
    settings: ThinkSettings,
    triggers: int,
    filled: int,
    difference: Difference | None,
    *,
    same_model: bool,
    stored: Mapping[Trigger, QueryList],
    refuses: Callable[[str], str | None],
) -> list[str]:
    """Return why a version must not become current, each in a sentence; empty if it may.

    `filled` of `triggers` got a list. `difference` is against the current version, None without one; `same_model`
    whether that was made by the model of today, from which much the same is expected; `stored` are lists as Redis gives
    them back.
    """
    found: list[str] = []
    if not triggers or filled / triggers < settings.min_coverage:
        found.append(
            f"only {filled} of {triggers} triggers got a list, think.min_coverage asks for {settings.min_coverage:.0%}"
        )
    bad = [key for key, value in stored.items() if not may_show(value, refuses)]
    if bad or (filled and not stored):
        found.append(f"{len(bad)} of {len(stored)} lists that were read back hold what must not be shown: {bad[:3]}")
    if difference is not None:
        before = sum(counts[0] for counts in difference.lists.values())
        if filled < settings.min_kept * before:
            found.append(
                f"{filled} lists, where {difference.before} has {before}: think.min_kept asks for "
                f"{settings.min_kept:.0%}"
            )
        if same_model and difference.changed_share > settings.max_changed:
            found.append(
                f"{difference.changed} of {difference.shared} lists lost half of their queries or more, "
                f"think.max_changed allows {settings.max_changed:.0%}; look at: aigq think diff "
                f"{difference.before} {difference.after}"
            )
    return found


def may_show(value: QueryList, refuses: Callable[[str], str | None]) -> bool:
    """Whether a list has queries, and all of them may be shown today: the catalogue may have changed, or the filter."""
    return bool(value.queries) and all(reject_reason(query) is None and refuses(query) is None for query in value.texts)

"""Rewards of IL-GRPO: one number for each query of a list, one for the list. Pure, so that each has its own test.

The paper (section 4, as far as it is public) rewards a query by predicted CTR, by likeness to the label and by format,
and a list by format, diversity, coverage and repetition; its weights are not public, ours are in the recipe.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from service.contracts.text import has_cjk, near_key, normalise
from service.ranking.filter import reject_reason
from workers.common.list_parser import LIST_SIZE
from workers.training.recipe import RewardWeights

FLOOR: Final = -1.0
"""The reward of a line that the list parser would drop: worse than any query."""


@dataclass(frozen=True, slots=True)
class Written:
    """A list as the model wrote it, line by line; `whole` unless the token cap cut it."""

    lines: Sequence[str]
    whole: bool


@dataclass(frozen=True, slots=True)
class LineScores:
    """For each line the chance of a click, and of being searched next as production sees it; 1 is the usual one."""

    ctr: Sequence[float]
    expected: Sequence[float]


def rouge_l(one: str, other: str) -> float:
    """Return the F1 of the longest common subsequence, of words, or of characters where either is CJK.

    Own code: `rouge-score` drops every character that is not ASCII.
    """
    first, second = (list(text) if has_cjk(one + other) else text.split() for text in (one, other))
    if not first or not second:
        return 0.0
    longest = [0] * (len(second) + 1)
    for left in first:
        before = 0
        for place, right in enumerate(second, start=1):
            kept = longest[place]
            longest[place] = before + 1 if left == right else max(kept, longest[place - 1])
            before = kept
    return 2 * longest[-1] / (len(first) + len(second))


def likeness(lines: Sequence[str], labels: Sequence[str]) -> list[float]:
    """Return each line's ROUGE-L with the label that it is matched to, one to one, for the greatest sum; else 0.

    One to one, so that ten variations of one label are not ten successes.
    """
    found = [0.0] * len(lines)
    if lines and labels:
        table = np.array([[rouge_l(line, label) for label in labels] for line in lines])
        for line, label in zip(*linear_sum_assignment(table, maximize=True), strict=True):
            found[line] = float(table[line, label])
    return found


def droppable(
    written: Written, finds: Callable[[str], bool], own: Collection[str] = (), own_kept: int = LIST_SIZE
) -> list[bool]:
    """Whether each line is of no use: cut, ill-formed, a repetition, surplus, or finding nothing.

    Surplus are also lines of the shopper's `own` queries after the first `own_kept`: serving drops what was searched
    a moment ago, and a list must hold enough beside it.
    """
    seen: set[str] = set()
    again = 0
    dropped: list[bool] = []
    for place, line in enumerate(written.lines):
        key = near_key(line)
        cut = not written.whole and place == len(written.lines) - 1
        odd = cut or line != normalise(line) or reject_reason(line) is not None or len(seen) == LIST_SIZE
        again += line in own
        bad = odd or key in seen or not finds(line) or (line in own and again > own_kept)
        dropped.append(bad)
        if not bad:
            seen.add(key)
    return dropped


def query_rewards(
    written: Written,
    labels: Sequence[str],
    coming: Sequence[str],
    scores: LineScores,
    dropped: Sequence[bool],
    weights: RewardWeights,
) -> list[float]:
    """Return a reward for each line: `FLOOR` if dropped, else the weighted sum of its parts.

    `labels`: the label list; `coming`: what was searched next.
    """
    likes = likeness(written.lines, labels)
    wanted = set(coming)
    return [
        FLOOR
        if bad
        else weights.ctr * ctr + weights.expected * likely + weights.rouge * like + weights.found * (line in wanted)
        for line, bad, ctr, likely, like in zip(
            written.lines, dropped, scores.ctr, scores.expected, likes, strict=True
        )
    ]  # fmt: skip


def sequence_reward(written: Written, labels: Sequence[str], dropped: Sequence[bool]) -> float:
    """Return the list's reward, in [-1, 3]: whole, well-formed and full, many different words, labels covered."""
    kept = [line for line, bad in zip(written.lines, dropped, strict=True) if not bad]
    if not kept:
        return FLOOR
    words = [word for line in kept for word in (list(line) if has_cjk(line) else line.split())]
    diversity = len(set(words)) / len(words)
    coverage = len({near_key(line) for line in kept} & {near_key(label) for label in labels}) / max(1, len(labels))
    full = len(kept) / LIST_SIZE - sum(dropped) / len(dropped)
    return (full if written.whole else FLOOR) + diversity + coverage

"""Advantages of IL-GRPO: one for each query of a list, laid on that query's tokens (DESIGN section 5).

A_t = z(the query's reward among all queries of its group) + lambda x z(the list's reward among the group's lists).
A group is the lists drawn for one prompt. Where nothing varies there is nothing to learn, and where a reward is not a
number nothing can be: advantages are 0 for the whole group, and it is counted (`idle_groups`).
"""

import math
from collections.abc import Container, Sequence
from typing import Final

import numpy as np
import torch

_EPSILON: Final = 1e-4
"""As in TRL's GRPO, so that the two agree where they should."""
Rewards = Sequence[Sequence[float | None]]
"""List -> query -> reward. None: a rationale before the queries, which is worth what its list is worth, and no more."""


def query_advantages(queries: Rewards, sequences: Sequence[float], group: int, weight: float) -> list[list[float]]:
    """Return an advantage for each query of each list; `group` lists in a row belong together."""
    found: list[list[float]] = []
    for start in range(0, len(queries), group):
        lists, shared_rewards = queries[start : start + group], sequences[start : start + group]
        if not _teaches(lists, shared_rewards):
            found += [[0.0] * len(one) for one in lists]
            continue
        each = iter(_z([reward for one in lists for reward in one if reward is not None]))
        found += [
            [(0.0 if reward is None else next(each)) + weight * shared for reward in one]
            for one, shared in zip(lists, _z(shared_rewards), strict=True)
        ]
    return found


def list_advantages(queries: Rewards, sequences: Sequence[float], group: int, weight: float) -> list[list[float]]:
    """Return one advantage a list, the same for each of its queries: plain GRPO on all rewards together."""
    means = [mean_reward(one) for one in queries]
    totals = [mean + weight * whole for mean, whole in zip(means, sequences, strict=True)]
    found: list[list[float]] = []
    for start in range(0, len(queries), group):
        lists = queries[start : start + group]
        taught = _teaches(lists, sequences[start : start + group])
        shared = _z(totals[start : start + group]) if taught else [0.0] * len(lists)
        found += [[value] * len(one) for one, value in zip(lists, shared, strict=True)]
    return found


def mean_reward(rewards: Sequence[float | None]) -> float:
    """Return the mean reward of a list's queries; 0 if it has none."""
    known = [reward for reward in rewards if reward is not None]
    return sum(known) / max(1, len(known))


def on_tokens(advantages: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]], tokens: int) -> torch.Tensor:
    """Return (lists, `tokens`): each query's advantage on its tokens, 0 beyond; `lengths` are its tokens.

    A separator belongs to the query that it begins, the end of sequence to the one before it. Weighted so that the mean
    over a list's tokens, which the loss takes, is the mean over its queries of the mean over their tokens: long queries
    weigh no more.
    """
    matrix = torch.zeros(len(advantages), tokens)
    for row, (ours, sizes) in enumerate(zip(advantages, lengths, strict=True)):
        share = sum(sizes) / max(1, len(sizes))
        values = [value * share / size for value, size in zip(ours, sizes, strict=True) for _ in range(size)]
        matrix[row, : len(values)] = torch.tensor(values)
    return matrix


def idle_groups(queries: Rewards, sequences: Sequence[float], group: int) -> int:
    """Return from how many groups nothing is learned: no variation at all, or a reward that is not a number."""
    starts = range(0, len(queries), group)
    return sum(not _teaches(queries[n : n + group], sequences[n : n + group]) for n in starts)


def segments(ids: Sequence[int], openings: Container[int]) -> list[int]:
    """Return how many tokens each query of a completion has; `openings` begin a query, the last one has the end too."""
    lengths: list[int] = []
    for token in ids:
        if token in openings or not lengths:
            lengths.append(0)
        lengths[-1] += 1
    return lengths


def rationale_length(ids: Sequence[int], mark: int, marks: Container[int]) -> int:
    """Return how many tokens of a completion are a rationale and the `mark` that ends it.

    0 if there is no `mark`, or another of the `marks` after it: that is not of the form.
    """
    if mark not in ids:
        return 0
    length = ids.index(mark) + 1
    return 0 if any(token in marks for token in ids[length:]) else length


def _teaches(queries: Rewards, sequences: Sequence[float]) -> bool:
    """Whether a group's rewards are all numbers, and not all the same."""
    rewards = [reward for one in queries for reward in one if reward is not None]
    return all(map(math.isfinite, [*rewards, *sequences])) and (len(set(rewards)) > 1 or len(set(sequences)) > 1)


def _z(values: Sequence[float]) -> list[float]:
    if len(values) < 2:  # noqa: PLR2004
        return [0.0] * len(values)
    array = np.asarray(values, dtype=np.float64)
    spread = array.std(ddof=1)
    if spread < _EPSILON:
        return [0.0] * len(values)
    scaled: list[float] = ((array - array.mean()) / (spread + _EPSILON)).tolist()
    return scaled

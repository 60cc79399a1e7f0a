"""The advantage matrix, by hand and by what must hold for any."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training.advantages import (
    idle_groups,
    list_advantages,
    on_tokens,
    query_advantages,
    rationale_length,
    segments,
)

_rewards = st.floats(-2, 2)
_group = st.lists(st.tuples(st.lists(_rewards, min_size=1, max_size=5), _rewards), min_size=4, max_size=4)


def test_by_hand() -> None:
    """Two lists: queries worth 1 and 0, and 2 and 1; mean 1, deviation 0.8165. Lists worth 0 and 1: z = -+0.7071."""
    found = query_advantages([[1.0, 0.0], [2.0, 1.0]], [0.0, 1.0], 2, weight=0.5)
    z, s = 1 / 0.8164966, 0.5 * 0.7071068
    assert found[0] == pytest.approx([-s, -z - s], abs=1e-3)
    assert found[1] == pytest.approx([z + s, s], abs=1e-3)
    matrix = on_tokens(found, [[2, 1], [1, 1]], 4)
    # The first list has three tokens and two queries: 1.5 a query, shared by its tokens.
    expected = [[-s * 0.75, -s * 0.75, (-z - s) * 1.5, 0.0], [z + s, s, 0.0, 0.0]]
    assert torch.allclose(matrix, torch.tensor(expected), atol=1e-3)


@given(_group)
def test_one_query_a_list_is_plain_grpo(group: list[tuple[list[float], float]]) -> None:
    """Without a list reward: (reward - mean) / (deviation + 1e-4), on each token."""
    rewards = torch.tensor([queries[0] for queries, _ in group], dtype=torch.float64)
    found = query_advantages([[one] for one in rewards.tolist()], [0.0] * 4, 4, weight=0.0)
    if rewards.std() > 1e-3:
        plain = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        assert torch.allclose(torch.tensor(found, dtype=torch.float64)[:, 0], plain)
        assert on_tokens(found, [[3]] * 4, 3)[:, 1] == pytest.approx(plain.tolist(), rel=1e-4)


@given(_group)
def test_the_mean_over_queries_is_what_the_loss_sees(group: list[tuple[list[float], float]]) -> None:
    """Long queries weigh no more: the mean over tokens equals the mean over queries."""
    queries, sequences = [one for one, _ in group], [whole for _, whole in group]
    found = query_advantages(queries, sequences, 4, weight=0.7)
    lengths = [[1 + place % 3 for place, _ in enumerate(one)] for one in queries]
    matrix = on_tokens(found, lengths, 20)
    for row, (ours, sizes) in enumerate(zip(found, lengths, strict=True)):
        assert matrix[row].sum().item() / sum(sizes) == pytest.approx(sum(ours) / len(ours), abs=1e-4)


@given(_group, st.permutations(range(4)))
def test_the_order_of_lists_does_not_matter(group: list[tuple[list[float], float]], order: list[int]) -> None:
    """Each list gets what it would get elsewhere in the group; groups do not see each other."""
    queries, sequences = [one for one, _ in group], [whole for _, whole in group]
    found = query_advantages(queries, sequences, 4, weight=0.3)
    again = query_advantages([queries[n] for n in order], [sequences[n] for n in order], 4, weight=0.3)
    for place, n in enumerate(order):
        assert again[place] == pytest.approx(found[n], abs=1e-6)
    doubled = query_advantages([*queries, [5.0], [6.0], [7.0], [8.0]], [*sequences, 1, 2, 3, 4], 4, weight=0.3)
    for ours, theirs in zip(found, doubled, strict=False):
        assert theirs == pytest.approx(ours)


@given(_group)
def test_queries_of_a_group_sum_to_nothing(group: list[tuple[list[float], float]]) -> None:
    """What one gains, others lose."""
    found = query_advantages([one for one, _ in group], [0.0] * 4, 4, weight=0.0)
    assert sum(value for one in found for value in one) == pytest.approx(0, abs=1e-6)


def test_one_advantage_a_list() -> None:
    """The ablation: all rewards together, the same on each query."""
    found = list_advantages([[1.0, 0.0], [2.0, 1.0]], [0.0, 1.0], 2, weight=1.0)
    assert found[0][0] == found[0][1] == pytest.approx(-0.7071, abs=1e-3)
    assert found[1][0] == found[1][1] == pytest.approx(0.7071, abs=1e-3)


def test_a_group_without_variation_teaches_nothing() -> None:
    """And is counted."""
    same = [[0.5, 0.5], [0.5]]
    assert query_advantages(same, [1.0, 1.0], 2, weight=1.0) == [[0.0, 0.0], [0.0]]
    assert list_advantages(same, [1.0, 1.0], 2, weight=1.0) == [[0.0, 0.0], [0.0]]
    assert idle_groups([*same, [0.1], [0.2]], [1.0, 1.0, 0.0, 0.0], 2) == 1


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_reward_that_is_not_a_number_costs_its_group(broken: float) -> None:
    """And only that one, wherever it stands; the group is counted."""
    for queries, sequences in (([[broken], [1.0]], [0.0, 1.0]), ([[0.0], [1.0]], [broken, 1.0])):
        more, whole = [*queries, [0.0], [1.0]], [*sequences, 0.0, 1.0]
        for advantages in (query_advantages, list_advantages):
            found = advantages(more, whole, 2, weight=1.0)
            assert found[:2] == [[0.0], [0.0]]
            assert found[2][0] < 0 < found[3][0]
        assert idle_groups(more, whole, 2) == 1


@given(st.lists(st.sampled_from([7, 8, 9]), max_size=20))
def test_segments_cover_a_completion(ids: list[int]) -> None:
    """Each token belongs to one query, a separator to the one that it begins."""
    lengths = segments(ids, frozenset({9}))
    assert sum(lengths) == len(ids)
    assert all(lengths)
    starts = [sum(lengths[:n]) for n in range(1, len(lengths))]
    assert starts == [place for place, token in enumerate(ids) if token == 9 and place]


@given(st.lists(st.sampled_from([5, 6, 7, 8, 9]), max_size=20))
def test_a_rationale_ends_where_the_only_list_begins(ids: list[int]) -> None:
    """At the first mark (5) and with it; another after it, or one that asks again (6), is not of the form."""
    length = rationale_length(ids, 5, {5, 6})
    if length:
        assert ids[length - 1] == 5
        assert 5 not in ids[: length - 1]
        assert not {5, 6} & set(ids[length:])
        assert length + sum(segments(ids[length:], frozenset({9}))) == len(ids)
    else:
        assert 5 not in ids or {5, 6} & set(ids[ids.index(5) + 1 :])


def test_a_rationale_gets_its_lists_advantage_alone() -> None:
    """And changes nobody's: queries have the advantages that they have in lists without reasons."""
    plain = query_advantages([[1.0, 0.0], [2.0, 1.0]], [0.0, 1.0], 2, weight=0.5)
    found = query_advantages([[None, 1.0, 0.0], [None, 2.0, 1.0]], [0.0, 1.0], 2, weight=0.5)
    assert [one[1:] for one in found] == plain
    assert [one[0] for one in found] == pytest.approx([-0.5 * 0.7071, 0.5 * 0.7071], abs=1e-3)
    whole = list_advantages([[None, 1.0, 0.0], [None, 2.0, 1.0]], [0.0, 1.0], 2, weight=1.0)
    assert whole[0] == pytest.approx([-0.7071] * 3, abs=1e-3)
    assert idle_groups([[None, 0.5], [None, 0.5]], [1.0, 1.0], 2) == 1
    # Three parts of three, one and one tokens: each a third of what the loss takes the mean of.
    matrix = on_tokens([[0.3, 0.6, 0.9]], [[3, 1, 1]], 5)
    assert matrix[0].mean().item() == pytest.approx((0.3 + 0.6 + 0.9) / 3)

"""What random draws promise."""

from hypothesis import given
from hypothesis import strategies as st

from workers.shop.draws import Draws, Stream, running_sums


def test_the_key_decides_everything() -> None:
    """The same key gives the same draws; another index or stream gives others."""
    first, again = Draws(1, Stream.SHOPPERS, 5), Draws(1, Stream.SHOPPERS, 5)
    taken = [first.uniform() for _ in range(500)]
    assert taken == [again.uniform() for _ in range(500)]
    assert taken[0] != Draws(1, Stream.SHOPPERS, 6).uniform()
    assert taken[0] != Draws(1, Stream.WARM_UP, 5).uniform()


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=20), st.integers(0, 1000))
def test_pick_is_an_index(weights: list[float], seed: int) -> None:
    """A pick is always the index of a weight."""
    assert 0 <= Draws(seed, Stream.SHOPPERS, 0).pick(running_sums(weights)) < len(weights)

"""What queries promise."""

from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import clean
from workers.shop.catalogue import CHINESE, ENGLISH
from workers.shop.draws import Draws, Stream
from workers.shop.queries import NONE, Level, TypingHabits
from workers.shop.schema import DATA
from workers.shop.world import World

_HABITS = TypingHabits.read(DATA)


def test_levels_say_more_and_more(world: World) -> None:
    """Category, attribute, use, brand, gift: each as people type it."""
    tents = world.shop.find(ENGLISH, "tents")
    assert tents is not None
    book = world.book
    assert book.product(tents, NONE).forms[0] == "tent"
    assert book.attribute(tents, NONE, 0, 0).forms[:2] == ("2 person tent", "tent 2 person")
    assert book.use(tents, NONE, 0).forms[0].startswith("tent for ")
    assert book.brand(tents, NONE, 0).forms[0] == f"{tents.brands[0].name.lower()} tent"
    assert book.gift(tents, 0).level is Level.GIFT


def test_every_query_is_clean_lower_case_and_understood(world: World) -> None:
    """No form is empty, padded or in capitals, and production can look each one up."""
    for locale in (ENGLISH, CHINESE):
        for category in world.shop.markets[locale]:
            for axis, (_, values) in enumerate(category.axes):
                for value in range(len(values)):
                    query = world.book.attribute(category, 0, axis, value)
                    assert query.sums == sorted(query.sums)
                    assert len(query.sums) == len(query.forms)
                    for form in query.forms:
                        assert form == clean(form).lower()
                        assert form in world.book.by_text


def test_what_trails_stands_behind(world: World) -> None:
    """Attributes that begin with "with" follow the product."""
    for category in world.shop.markets[ENGLISH]:
        for axis, (_, values) in enumerate(category.axes):
            for value, said in enumerate(values):
                if said.startswith("with "):
                    assert not world.book.attribute(category, NONE, axis, value).forms[0].startswith("with ")


@given(st.text(alphabet="abcdefghij klmnop", max_size=30), st.integers(0, 2**32))
def test_a_typo_keeps_a_query_a_query(text: str, seed: int) -> None:
    """A slip changes little and leaves nothing to clean."""
    slipped = _HABITS.misspell(" ".join(text.split()), Draws(seed, Stream.SHOPPERS, 0))
    assert slipped == clean(slipped)
    assert abs(len(slipped) - len(" ".join(text.split()))) <= 1

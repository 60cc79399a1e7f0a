"""The tokenizer: known queries are tokens of their own, and every text comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.common.prompt import REASONS, SEPARATOR, SPECIAL_TOKENS, render_list
from workers.training.tokenizer import learn_reasons, openings, parts, train

QUERIES = ("phone", "phone case", "dog food", "手机壳", "cafe", "café")
PHRASES = (*(SEPARATOR + query for query in QUERIES), "young families", "café")
TOKENIZER = train(["\nphone case\ndog food\nphones", "\n手机壳"], 320, PHRASES)


def ids(text: str) -> list[int]:
    """Return the tokens of `text`."""
    found: list[int] = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_one_token_in_prompts_and_lists(query: str) -> None:
    """With the separator before it: after the prompt's own tokens, and after another query."""
    (one,) = ids(SEPARATOR + query)
    assert ids(f"<search>{SEPARATOR}{query}<click>").count(one) == 1
    assert ids(render_list([query, query])) == [one, one]
    assert one in openings(TOKENIZER)


def test_a_value_of_a_profile_is_one_token_but_never_within_a_word() -> None:
    """It begins no line."""
    (one,) = ids("young families")
    assert one in ids("<profile>mid, young families<hints>")
    assert one not in ids("young familiesque")
    assert one not in openings(TOKENIZER)


def test_the_longest_query_wins() -> None:
    """A line that says "phone case" does not begin with the token of "phone"."""
    (phone,) = ids(f"{SEPARATOR}phone")
    assert phone not in ids(f"{SEPARATOR}phone case")
    assert phone in ids(f"{SEPARATOR}phone cover")


def test_a_phrase_that_would_be_taken_for_bytes_is_spelled() -> None:
    """Byte-level decoding reads a token of Latin-1 letters alone as bytes."""
    assert len(ids("café")) > 1
    assert TOKENIZER.decode(ids("café")) == "café"


@given(st.lists(st.one_of(st.sampled_from(QUERIES), st.text("abc 'éñ手机-3", max_size=12)), max_size=12))
def test_lists_come_back(queries: list[str]) -> None:
    """Whatever a list holds, decoding gives it back: vLLM's answers are parsed as text."""
    text = render_list(queries)
    assert TOKENIZER.decode(ids(text)) == text


def test_parts_are_the_words_tokens() -> None:
    """What a phrase is composed of spells it, and is no such phrase itself."""
    found = parts(TOKENIZER)
    assert {TOKENIZER.decode([one]) for one in found} == set(PHRASES) - {"café"}
    for one, some in found.items():
        assert TOKENIZER.decode(some) == TOKENIZER.decode([one])
        assert not found.keys() & set(some)


def test_reasons_are_one_token_once_learned() -> None:
    """Only then, so that who asks for reasons can tell a model that has none; other tokens stay what they were."""
    own = train(["phone case"], 320, PHRASES)
    before = own("phone case<hints>", add_special_tokens=False)["input_ids"]
    assert len(own(REASONS, add_special_tokens=False)["input_ids"]) > 1
    for _ in range(2):
        learn_reasons(own)
    assert own(REASONS, add_special_tokens=False)["input_ids"] == [len(own) - 1]
    assert own("phone case<hints>", add_special_tokens=False)["input_ids"] == before
    assert len(own) - 1 not in parts(own)


def test_without_phrases_nothing_is_added() -> None:
    """A tokenizer of pieces of words alone, as before."""
    plain = train(["phone case"], 320)
    assert parts(plain) == {}
    assert all(len(plain(token, add_special_tokens=False)["input_ids"]) == 1 for token in SPECIAL_TOKENS)

"""The tokenizer: known queries are tokens of their own, and every text comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.common.prompt import REASONS, SEPARATOR, SPECIAL_TOKENS
from workers.training.tokenizer import learn_reasons, parts, train

PHRASES = ("phone", "phone case", "dog food", "手机壳", "cafe", "café", "young families")
TOKENIZER = train(["phone case\ndog food\nphones", "手机壳"], 320, PHRASES)


def ids(text: str) -> list[int]:
    """Return the tokens of `text`."""
    found: list[int] = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return found


@pytest.mark.parametrize("phrase", ["phone", "phone case", "dog food", "手机壳", "young families"])
def test_a_phrase_is_one_token_in_prompts_and_lists(phrase: str) -> None:
    """Also between the prompt's own tokens, and before and after a separator."""
    (one,) = ids(phrase)
    assert one in ids(f"<search>{phrase}<click>{phrase}<hints>")
    assert ids(f"{phrase}{SEPARATOR}{phrase}")[::2] == [one, one]


def test_a_longer_phrase_wins_and_no_word_is_cut() -> None:
    """The phrase "phone" is neither within "phones" nor within "phone case"."""
    (phone,) = ids("phone")
    assert phone not in ids("phones")
    assert phone not in ids("phone case")
    assert phone in ids("phone cover")


def test_a_phrase_that_would_be_taken_for_bytes_is_spelled() -> None:
    """Byte-level decoding reads a token of Latin-1 letters alone as bytes."""
    assert len(ids("café")) > 1
    assert TOKENIZER.decode(ids("café")) == "café"


@given(st.lists(st.one_of(st.sampled_from(PHRASES), st.text("abc 'éñ手机-3", max_size=12)), max_size=12))
def test_lists_come_back(queries: list[str]) -> None:
    """Whatever a list holds, decoding gives it back: vLLM's answers are parsed as text."""
    text = SEPARATOR.join(queries)
    assert TOKENIZER.decode(ids(text)) == text


def test_parts_are_the_words_tokens() -> None:
    """What a phrase is composed of spells it, and is no such phrase itself."""
    found = parts(TOKENIZER)
    composed = {TOKENIZER.decode([one]) for one in found}
    assert composed == set(PHRASES) - {"café", "phone"}, "BPE has made one token of phone by itself"
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

"""Text rules: what is clean stays clean, and near-duplicates share a key."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import clean, has_cjk, near_key, normalise, term_choices, terms
from tests.support import ANY_TEXT


@given(ANY_TEXT)
def test_clean_is_idempotent(text: str) -> None:
    """Cleaning twice changes nothing, so every process may clean."""
    assert clean(clean(text)) == clean(text)


@given(ANY_TEXT)
def test_normalise_is_idempotent(text: str) -> None:
    """The identity of an identity is itself."""
    assert normalise(normalise(text)) == normalise(text)


@given(ANY_TEXT)
def test_nothing_unsafe_survives(text: str) -> None:
    """No control, format, surrogate, private or unassigned character, and no space but single ones inside."""
    cleaned = clean(text)
    assert {unicodedata.category(c) for c in cleaned}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn"})
    assert cleaned == " ".join(cleaned.split())
    cleaned.encode("utf-8")


@given(ANY_TEXT)
def test_equal_queries_have_equal_near_keys(text: str) -> None:
    """`near_key` never tells apart what `normalise` calls the same."""
    assert near_key(normalise(text)) == near_key(text)
    assert near_key(clean(text)) == near_key(text)


@given(st.lists(st.text("abcxyz", min_size=1, max_size=6), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_near_key_ignores_word_order(words: list[str], random: st.DrawFn) -> None:
    """Shuffled words share a key."""
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert near_key(" ".join(shuffled)) == near_key(" ".join(words))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("red shoe", "shoes red"),
        ("baby bodies", "baby body"),
        ("watches", "watch"),
        ("boxes", "box"),
        ("USB-C cable", "usb c cables"),
        ("ＴＥＮＴ", "tent"),
        ("日本 茶", "茶日本"),
        ("Straße", "STRASSE"),
    ],
)
def test_near_duplicates_share_a_key(one: str, other: str) -> None:
    """Plural, order, punctuation, case and width do not make a new query."""
    assert near_key(one) == near_key(other)


@pytest.mark.parametrize(("one", "other"), [("glass", "glas"), ("bus", "bu"), ("red shoe", "blue shoe"), ("", "tent")])
def test_different_queries_have_different_keys(one: str, other: str) -> None:
    """Stemming does not fuse short words or words in -ss."""
    assert near_key(one) != near_key(other)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  red \t\n shoes ", "red shoes"),
        ("a\x00b", "ab"),
        ("evil\u202etxt", "eviltxt"),
        ("cut \ud83d", "cut"),
        ("\u200b\ufeff\x00", ""),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("cafe\u0301", "café"),
    ],
)
def test_clean_examples(raw: str, cleaned: str) -> None:
    """What leaves a query, and what stays."""
    assert clean(raw) == cleaned


def test_has_cjk() -> None:
    """Chinese, Japanese and Korean count; accents do not."""
    assert all(map(has_cjk, ("茶", "ひら", "カタ", "한국")))
    assert not has_cjk("café ½")


def test_terms_are_words_and_pairs_of_characters() -> None:
    """CJK has no spaces, so neighbours stand for words; a lone character stands for itself."""
    assert terms("Two-Person tent") == {"two", "person", "tent"}
    assert terms("猫砂盆 usb充电器") == {"猫砂", "砂盆", "usb", "充电", "电器"}
    assert terms("茶") == {"茶"}


def test_each_character_of_a_run_is_in_one_of_its_pairs() -> None:
    """At both ends that is one pair, in between one of two."""
    assert term_choices("usb 茶 狗粮") == [("usb",), ("茶",), ("狗粮",)]
    assert term_choices("鸡肉狗粮") == [("鸡肉",), ("狗粮",), ("鸡肉", "肉狗"), ("肉狗", "狗粮")]


def test_kana_and_hangul_are_spelt_in_full() -> None:
    """Half a word of them is another word: a remote (control) is no plug."""
    assert {("リモ",), ("モコ",), ("コン",)} <= {*term_choices("リモコン")}
    assert ("水テ",) not in term_choices("防水テント"), "a word may end where the script changes"
    assert ("テン",) in term_choices("防水テント")

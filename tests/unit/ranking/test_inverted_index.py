"""What a query finds."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ranking.inverted_index import InvertedIndex, content_words, word_choices

_WORDS = ["tent", "tents", "camp", "防水", "帐篷", "四人", "狗粮", "鸡肉", "茶", "テント"]
_TITLES = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(" ".join)
_QUERIES = st.lists(st.sampled_from([*_WORDS, " "]), min_size=1, max_size=4).map("".join)


def test_words_of_a_run_may_stand_apart(tmp_path: Path) -> None:
    """A waterproof tent is found by its two words written as one, and not by one of them beside another."""
    path = tmp_path / "index.mdb"
    titles = ["四人帐篷 防水", "防雨 帐篷", "狗粮 鸡肉味", "リモート コンセント"]
    InvertedIndex.write(path, titles, ["tents", "tents", "dogs", "plugs"])
    index = InvertedIndex.open(path)
    assert index.count("防水帐篷", 9) == 1
    assert index.count("帐篷", 9) == 2
    assert index.label("鸡肉味狗粮") == "dogs"
    assert index.count("リモコン", 9) == 0, "half of each word"
    assert index.count("防雨狗粮", 9) == index.count("雨帐", 9) == index.count("for the", 9) == 0
    index.close()


@settings(deadline=None, max_examples=60)
@given(st.lists(_TITLES, min_size=1, max_size=6), _QUERIES)
def test_it_finds_what_has_a_word_of_each_choice(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str], query: str
) -> None:
    """Neither more nor less, and at least the titles that have all words as they are written."""
    path = tmp_path_factory.mktemp("index") / "index.mdb"
    InvertedIndex.write(path, titles)
    index = InvertedIndex.open(path)
    found = index.count(query, 99)
    index.close()
    asked = word_choices(query)
    assert found == sum(all({*choice} & content_words(title) for choice in asked) for title in titles) * bool(asked)
    assert found >= sum(content_words(query) <= content_words(title) for title in titles) * bool(asked)

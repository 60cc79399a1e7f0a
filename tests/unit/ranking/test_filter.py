"""The safety filter for queries that may be shown."""

from pathlib import Path

import pytest
from hypothesis import given

from service.contracts.errors import ConfigError
from service.ranking.filter import MAX_HINT_CHARS, BlockList, reads_cjk, reject_reason
from tests.support import ANY_TEXT


@pytest.mark.parametrize(
    "query",
    [
        "camping stove",
        "usb-c 65w charger",
        "茶",
        "iphone 15 pro max 256 gb",
        "size 10.5 shoes",
        "4k tv 55 inch",
        "lego 75192",
    ],
)
def test_queries_that_may_be_shown(query: str) -> None:
    """Ordinary searches pass, with digits and hyphens."""
    assert reject_reason(query) is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "short"),
        ("a", "short"),
        ("x" * (MAX_HINT_CHARS + 1), "long"),
        ("one two three four five six seven eight nine ten eleven", "long"),
        ("12345", "no_letters"),
        ("!!!", "no_letters"),
        ("tent ", "unclean"),
        ("tent\x00", "unclean"),
        ("tent\u202e", "unclean"),
        ("tent \ud800", "unclean"),
        ("see https://evil.example", "url"),
        ("www.evil shop", "url"),
        ("buy at evil.com", "url"),
        ("<b>tent", "markup"),
        ("tent &nbsp; bag", "markup"),
        ("{{template}}", "markup"),
        ("mail anna@shop.example", "email"),
        ("card 4111 1111 1111 1111", "card"),
        ("call 555-123-4567", "phone"),
        ("call +491234567890", "phone"),
    ],
)
def test_queries_that_may_not(query: str, reason: str) -> None:
    """Each with the reason that a metric counts."""
    assert reject_reason(query) == reason


@given(ANY_TEXT)
def test_what_passes_is_short_clean_and_without_markup(query: str) -> None:
    """A front end may put it into a page or a URL without surprises."""
    if reject_reason(query) is None:
        assert 1 <= len(query) <= MAX_HINT_CHARS
        assert query.isprintable()
        assert not set(query) & set("<>{}[]|\\`")


_BLOCKED = BlockList.of(["# not for this shop", "Knives", "hot dog  # not the food", "", "避孕套", "iPhone壳"])


@pytest.mark.parametrize(
    "query",
    [
        "kitchen knives",
        "knive",
        "KNIVES, set of 6",
        "ｋｎｉｖｅｓ",
        "hot dogs",
        "hot-dog bun",
        "超薄避孕套男",
        "iphone壳 透明",
    ],
)
def test_what_is_blocked(query: str) -> None:
    """Case, width, plural and punctuation do not matter; a phrase may stand anywhere."""
    assert _BLOCKED.blocks(query)


@pytest.mark.parametrize("query", ["", "knivesharp", "hot water for a dog", "dog hot", "避孕", "手机壳", "comment not"])
def test_what_is_not_blocked(query: str) -> None:
    """A part of a word, or of a phrase, and what a comment says."""
    assert not _BLOCKED.blocks(query)


def test_a_block_list_in_a_file(tmp_path: Path) -> None:
    """As editors write them, with a byte order mark and Windows' lines; without a file nothing is blocked."""
    path = tmp_path / "blocked.txt"
    path.write_bytes("\ufeffknives\r\n\r\n# tea\r\n茶\r\n".encode())
    found = BlockList.read(path)
    assert found == BlockList.of(["茶", "knives"])
    assert found.digest != BlockList().digest
    assert BlockList.read(None) == BlockList()
    assert not BlockList().blocks("knives")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_block_list_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """Nothing starts with it: what a shop blocks must not be shown because of a typing error."""
    path = tmp_path / "blocked.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"service\.block_list: .*blocked\.txt cannot be read"):
        BlockList.read(path)


@pytest.mark.parametrize(
    ("locale", "typed", "reads"),
    [
        (None, [], True),
        ("", [], True),
        ("Chinese", [], True),
        ("zh-CN", [], True),
        ("ZH_tw", ["tent"], True),
        ("ja", [], True),
        ("ko-KR", [], True),
        ("en-US", [], False),
        ("de", ["zelt"], False),
        ("en-US", ["tent", "双人帐篷"], True),
    ],
)
def test_who_reads_cjk(locale: str | None, typed: list[str], reads: bool) -> None:  # noqa: FBT001
    """What the locale says, if it is one, unless the shopper types it; nobody knows what an odd value means."""
    assert reads_cjk(locale, typed) is reads

"""The safety filter for queries that may be shown."""

import pytest
from hypothesis import given

from service.ranking.filter import MAX_HINT_CHARS, reject_reason
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

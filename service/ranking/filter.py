"""The safety filter for queries that may be shown: model output is untrusted, so it runs at write and again at read."""

import re
from functools import lru_cache
from typing import Final

from service.contracts.text import clean, has_cjk

MAX_HINT_CHARS: Final = 60
MAX_HINT_WORDS: Final = 10
MIN_HINT_CHARS: Final = 2

_REJECT: Final = (
    ("url", re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|net|org|io|cn|ru|info)\b", re.IGNORECASE)),
    ("markup", re.compile(r"[<>{}\[\]\\|`]|&[a-z]+;", re.IGNORECASE)),
    ("email", re.compile(r"\S+@\S+\.\S+")),
    ("card", re.compile(r"\b(?:\d[ -]?){13,19}\b")),
    (
        "phone",
        re.compile(r"(?:\+\d{1,3}[ -]?)?(?:\(\d{2,4}\)[ -]?)?\d{3,4}[ -]\d{3,4}[ -]\d{3,4}\b|\+\d{9,}|\b\d{10,12}\b"),
    ),
)


@lru_cache(maxsize=1 << 16)
def reject_reason(query: str) -> str | None:
    """Return why `query` must not be shown (a bounded label), or None if it may."""
    if query != clean(query):
        return "unclean"
    if not query or (len(query) < MIN_HINT_CHARS and not has_cjk(query)):
        return "short"
    if len(query) > MAX_HINT_CHARS or query.count(" ") >= MAX_HINT_WORDS:
        return "long"
    if not any(c.isalpha() for c in query):
        return "no_letters"
    return next((reason for reason, pattern in _REJECT if pattern.search(query)), None)

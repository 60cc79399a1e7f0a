"""The safety filter for queries that may be shown: model output is untrusted, so it runs at write and again at read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from service.contracts.errors import ConfigError
from service.contracts.text import clean, has_cjk, words

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


_LANGUAGE: Final = re.compile(r"([a-z]{2,3})(?:[-_].*)?", re.IGNORECASE)
_READ_CJK: Final = frozenset({"zh", "yue", "cmn", "ja", "ko"})


def reads_cjk(locale: str | None, typed: Iterable[str]) -> bool:
    """Whether a shopper can be shown Chinese, Japanese or Korean: unless the locale (BCP 47) is another language's.

    What the shopper `typed` lately outweighs it. Latin script is for everybody: brands and models are written in it.
    """
    language = _LANGUAGE.fullmatch(locale or "")
    return language is None or language[1].lower() in _READ_CJK or any(map(has_cjk, typed))


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


@dataclass(frozen=True, slots=True)
class BlockList:
    """Words and phrases that a shop never suggests: a query that holds one, word by word, is `blocked`.

    Case, width, punctuation and plurals are ignored; in Chinese, Japanese and Korean a phrase is found anywhere.
    """

    phrases: frozenset[tuple[str, ...]] = frozenset()

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Return the list of one word or phrase a line; what follows a # is a comment."""
        return cls(frozenset(tuple(words(line.partition("#")[0])) for line in lines) - {()})

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Return the list in a file; without a file nothing is blocked.

        Raises:
            ConfigError: it is missing or not UTF-8 text.
        """
        try:
            return cls() if path is None else cls.of(path.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"service.block_list: {path} cannot be read ({error}); name a UTF-8 file of one word or phrase a line"
            ) from None

    @property
    def digest(self) -> str:
        """A short name of what is blocked."""
        return blake2b(repr(sorted(self.phrases)).encode(), digest_size=8).hexdigest()

    def blocks(self, query: str) -> bool:
        """Whether `query` holds a blocked word or phrase."""
        if not self.phrases:
            return False
        said = words(query)
        ends = range(1, len(said) + 1)
        return any(tuple(said[start:end]) in self.phrases for end in ends for start in range(end))


NOTHING: Final = BlockList()
"""Without a block list."""

"""Text rules shared by every process: what a query is allowed to contain and when two queries are the same.

Shoppers' text and model output are untrusted alike, so both pass through `clean`.
Unicode categories: https://www.unicode.org/reports/tr44/#General_Category_Values.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

MAX_QUERY_CHARS = 200
MAX_ID_CHARS = 128

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")
_CJK_RANGES = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_CJK = re.compile(f"[{_CJK_RANGES}]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_RUNS = re.compile(f"([{_CJK_RANGES}]+)|([^{_CJK_RANGES}]+)")
_MIN_STEM = 4


def clean(text: str) -> str:
    """Return `text` in NFKC, without control, bidi, surrogate or unassigned characters, whitespace folded.

    Idempotent. A query that is empty after this had nothing to show.
    """
    if text.isascii() and text.isprintable():
        return _SPACE.sub(" ", text).strip()
    # Whitespace controls (tab, newline) become spaces before control characters go, so words do not fuse.
    spaced = _SPACE.sub(" ", text)
    safe = "".join(c for c in spaced if unicodedata.category(c) not in _UNSAFE_CATEGORIES)
    folded = unicodedata.normalize("NFKC", safe)
    kept = "".join(c for c in folded if unicodedata.category(c) not in _UNSAFE_CATEGORIES)
    return _SPACE.sub(" ", kept).strip()


def normalise(text: str) -> str:
    """Return the identity of a query: two queries with equal `normalise` are the same query."""
    # Casefolding can leave NFKC (for example U+0345), so clean once more to stay idempotent.
    return clean(clean(text).casefold())


def has_cjk(text: str) -> bool:
    """Whether `text` holds Chinese, Japanese or Korean characters."""
    return _CJK.search(text) is not None


def _stem(word: str) -> str:
    """Strip the plural of an English word; crude on purpose, used only to find near-duplicates."""
    if len(word) > _MIN_STEM and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > _MIN_STEM and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) >= _MIN_STEM and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """Return the words of `text` in order, plurals as singulars; CJK, which has no spaces, character by character."""
    found: list[str] = []
    for word in _WORD.findall(normalise(text)):
        for run, other in _RUNS.findall(word):
            found += run or [_stem(other)]
    return found


def terms(text: str) -> set[str]:
    """Return what `text` is made of: words, and for CJK runs (which have no spaces) each pair of neighbours."""
    return {term for choice in term_choices(text) for term in choice}


def term_choices(text: str) -> list[tuple[str, ...]]:
    """Return the `terms` that a text about `text` has: of each choice one, at least.

    A word is a choice of its own. Of a CJK run each character has to be in one of its pairs: where Chinese words that
    follow each other in the run stand apart in the text, the pair in between is nowhere.
    """
    found: list[tuple[str, ...]] = []
    for word in _WORD.findall(normalise(text)):
        for run, latin in _RUNS.findall(word):
            pairs = tuple(map("".join, pairwise(run)))
            if pairs:
                # Kana and hangul spell, so half a word of them means nothing: all their pairs count.
                found += [(pair,) for pair in pairs if pair in {pairs[0], pairs[-1]} or not _HAN.search(pair)]
                found += pairwise(pairs)
            else:
                found.append((run or latin,))
    return found


@lru_cache(maxsize=1 << 16)
def near_key(text: str) -> str:
    """Return a key that near-duplicates share: word order, plural and punctuation are ignored; CJK by character."""
    norm = normalise(text)
    if has_cjk(norm):
        return "".join(sorted(c for c in norm if c.isalnum()))
    return " ".join(sorted(_stem(word) for word in _WORD.findall(norm)))

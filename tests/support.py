"""A small shop written as a dataset, and text that tries to break things."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from service.ranking.merge import Candidate, Proposal, rows

POPULAR_WITH_ALL = "camping stove"
POPULAR_WITH_PARENTS = "baby monitor"
TENT = "tent-1"
TENT_CATEGORY = "Outdoors > Camping > Tents"
RARE_QUERY = "engagement ring for anna"

_ITEMS = [
    (TENT, "Two Person Tent", TENT_CATEGORY, 99.0),
    ("stove-1", "Gas Camping Stove", "Outdoors > Camping > Stoves", 39.5),
    ("monitor-1", "Video Baby Monitor", "Baby > Safety", 79.0),
    ("odd-1", "Thing Without Category", None, None),
]
_EVERYONE = [
    POPULAR_WITH_ALL, "sleeping bag", "head torch", "hiking boots", "water bottle", "rain jacket", "picnic blanket",
    "folding chair", "thermos flask", "trail snacks", "insect repellent", "first aid kit",
]  # fmt: skip

_NASTY = st.sampled_from(
    "\x00\t\n\r\x1f\x7f\x85\xa0\xad\u0301\u0345\u200b\u200d\u202e\u2066\ufeff\ufffe\ud800\udfff\ue000"
    "<>{}[]|\\`&\"'%:#ßİıﬁ＜＞Ⅷ½日本語한국 \u0378\U000e0001\U0001f600"
)
ANY_TEXT = st.text(st.characters(exclude_categories=()) | _NASTY, max_size=60)
"""Any characters at all, lone surrogates included."""
SAFE_TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("<>日 "), max_size=40)
"""What UTF-8 can hold."""
QUERIES = st.lists(
    st.sampled_from(["tent", "tents", "red shoes", "shoe red", "boots", "lamp", "lamps", "usb c cable", "日本 茶"])
    | st.text("abcdefgh ", min_size=2, max_size=12),
    max_size=12,
)
"""Lists of plausible queries, with near-duplicates."""
SAMPLE_SHOP: dict[str, Any] = {
    "shoppers": [{"user_id": f"sample-{number}", "profile": {}, "did": []} for number in range(50)],
    "items": [{"item_id": TENT, "title": "Two Person Tent", "category": TENT_CATEGORY, "price": 99.0}],
}
"""What `GET /sample` offers, in the form that the demo writes."""


def proposal(candidate: Candidate) -> Proposal:
    """Return a candidate as the only one that its source proposes."""
    query, source, score, trigger = candidate
    return Proposal(source, rows([(query, score)]), 1.0, trigger)


def candidates_of(proposals: Sequence[Proposal]) -> list[Candidate]:
    """Return what was proposed, best first, with the scores that it is merged by."""
    found = [
        Candidate(query, one.source, one.weight * score, one.trigger)
        for one in proposals
        for _, query, score in one.rows
    ]
    return sorted(found, key=lambda candidate: -candidate.score)


def write_dataset(path: Path) -> Path:
    """Write items, events and profiles of ten shoppers, and of some whom only their segment moves, to `path`."""
    (path / "events").mkdir(parents=True, exist_ok=True)
    pl.DataFrame(_ITEMS, schema=["item_id", "title", "category", "price"], orient="row").write_parquet(
        path / "items.parquet"
    )
    rows = []
    for number in range(10):
        user = f"u{number}"
        if number < 4:
            rows.append((user, 999.0, "search", POPULAR_WITH_PARENTS, None))
        rows += [(user, 1000.0, "search", query, None) for query in _EVERYONE[: 12 - number]]
        rows.append((user, 1002.0, "click", None, TENT))
    rows += [("u0", 1003.0, "search", RARE_QUERY, None), ("u1", 1003.0, "click", None, "stove-1")]
    rows += [(f"u{number}", 1004.0, "search", "call +491234567890", None) for number in range(5)]
    like_others = [(f"parent-{number}", [POPULAR_WITH_ALL, POPULAR_WITH_PARENTS]) for number in range(8)]
    like_others += [(f"camper-{number}", _EVERYONE[:3]) for number in range(12)]
    rows += [(user, 1000.0, "search", query, None) for user, queries in like_others for query in queries]
    schema = {"user_id": pl.String, "ts": pl.Float64, "type": pl.String, "query": pl.String, "item_id": pl.String}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path / "events" / "part-0.parquet")
    segments = [(f"u{number}", "parent" if number < 4 else "camper") for number in range(10)]
    segments += [(user, user.split("-")[0]) for user, _ in like_others]
    pl.DataFrame(segments, schema=["user_id", "segment"], orient="row").write_parquet(path / "profiles.parquet")
    return path


def require_tool(tool: str, package: str, untested: str) -> None:
    """Skip the test, and say so loudly, where a tool of Debian's `package` is absent; fail with REQUIRE_APT_TOOLS."""
    if shutil.which(tool) is None:
        if os.environ.get("REQUIRE_APT_TOOLS"):
            pytest.fail(f"{tool} is missing: apt-get install {package}")
        pytest.skip(f"{tool} is missing, {untested} ARE NOT TESTED: apt-get install {package}")

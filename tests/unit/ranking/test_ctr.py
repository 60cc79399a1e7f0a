"""The CTR scorer: what serving, labels and rewards rely on."""

import math
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contracts.codecs import BehaviourEntry
from service.contracts.errors import ArtefactError
from service.ranking.catalogue import Item
from service.ranking.ctr import CtrMeta, CtrScorer, save
from service.ranking.fact_cache import FactCache
from service.ranking.features import FEATURES, features
from service.ranking.query_stats import QueryRow, QueryStats
from service.ranking.shopper_context import ShopperContext

NOW = 1_793_000_000.0
HOUR = 3600.0
TENTS, STOVES, PERFUME = range(3)
ITEMS = {
    "t1": Item("t1", "Campra Dome Tent 2-Person", "Outdoors > Tents", 80.0),
    "s1": Item("s1", "Gas Stove", "Outdoors > Stoves", 30.0),
    "p1": Item("p1", "香草 香水", "Beauty > Perfume", 50.0),
}
STATS = QueryStats(
    shoppers=1000,
    categories=["Outdoors > Tents", "Outdoors > Stoves", "Beauty > Perfume"],
    category_shoppers=[50, 30, 20],
    category_profile=[[40, 10], [20, 10], [0, 20]],
    category_price=[math.log(80), math.log(30), math.log(50)],
    profile={"segment": ["campers", "students"]},
    profile_shoppers=[300, 700],
    queries={
        "tent": QueryRow(40, [(TENTS, 35.0)], [35, 5], 0.1),
        "香水": QueryRow(20, [(PERFUME, 18.0)], [0, 20], None),
    },
    terms={
        "tent": (1.0, [(TENTS, 0.9), (STOVES, 0.1)]),
        "waterproof": (2.0, [(TENTS, 0.4), (STOVES, 0.3), (PERFUME, 0.3)]),
        "stove": (1.5, [(STOVES, 1.0)]),
        "香水": (1.5, [(PERFUME, 1.0)]),
        "campra": (3.0, [(TENTS, 1.0)]),
    },
    brands=["Campra"],
    after_seen=[[(STOVES, 1.2)], [], []],
    after_bought=[[(STOVES, 2.0)], [], []],
    unknown_rarity=5.0,
)
QUERIES = st.lists(
    st.one_of(st.sampled_from(["tent", "waterproof tent", "香水", "stoves", "Tent "]), st.text(max_size=60)), max_size=8
)
ENTRIES = st.lists(
    st.builds(
        BehaviourEntry,
        st.sampled_from(["search", "click", "cart", "purchase", "hint_click", "unheard_of"]),
        st.floats(NOW - 1e7, NOW + 10),
        st.one_of(st.sampled_from(["tent", "t1", "s1", "p1", "香水"]), st.text(max_size=20)),
    ),
    max_size=30,
)
CONTEXTS = st.builds(
    ShopperContext,
    st.just(NOW),
    ENTRIES,
    st.dictionaries(st.sampled_from(["segment", "locale", "mood"]), st.sampled_from(["campers", "x"])),
    st.just(ITEMS),
    st.one_of(st.none(), st.just({"tent": 3})),
)


def trees() -> str:
    """Return a small model that uses every feature somehow."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, len(FEATURES)))
    model = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 15},
        lightgbm.Dataset(matrix, (matrix.sum(axis=1) > 0).astype(float)),
        num_boost_round=20,
    )
    text: str = model.model_to_string()
    return text


def meta(**changes: Any) -> CtrMeta:
    """Return the description of a model."""
    return CtrMeta("train", NOW, {"seed": 1}, [1.0, 0.7], -3.0, {}, **changes)


TREES = trees()
SCORER = CtrScorer(meta(), STATS, TREES)


def entry(kind: str, hours: float, ref: str) -> BehaviourEntry:
    """Return what a shopper did some hours ago."""
    return BehaviourEntry(kind, NOW - hours * HOUR, ref)


def computed(queries: list[str], *behaviour: BehaviourEntry, **changes: Any) -> list[dict[str, float]]:
    """Return the features of queries by name."""
    context = ShopperContext(NOW, behaviour, items=ITEMS, **changes)
    return [dict(zip(FEATURES, map(float, row), strict=True)) for row in features(FactCache(STATS), context, queries)]


@settings(deadline=None, max_examples=60)
@given(CONTEXTS, QUERIES)
def test_every_query_gets_a_chance(context: ShopperContext, queries: list[str]) -> None:
    """Whatever the shopper did and whatever the query says: one number strictly between 0 and 1."""
    scores = SCORER.score(context, queries)
    assert scores.dtype == np.float32
    assert scores.shape == (len(queries),)
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()


@settings(deadline=None, max_examples=60)
@given(CONTEXTS, QUERIES, st.randoms(use_true_random=False))
def test_a_score_depends_on_nothing_but_the_case(context: ShopperContext, queries: list[str], luck: Any) -> None:
    """Not on other queries, their order, what was scored before, or the process."""
    order = list(range(len(queries)))
    luck.shuffle(order)
    first = SCORER.score(context, queries)
    shuffled = SCORER.score(context, [queries[place] for place in order])
    assert np.array_equal(first[order], shuffled)
    fresh = CtrScorer(meta(), STATS, TREES)
    assert np.array_equal(first, np.concatenate([fresh.score(context, [query]) for query in queries] or [first]))


@settings(deadline=None, max_examples=30)
@given(CONTEXTS, QUERIES)
def test_a_full_cache_changes_nothing(context: ShopperContext, queries: list[str]) -> None:
    """The cache starts anew when it is full; features stay the same."""
    tight = FactCache(STATS, capacity=64)
    wide = FactCache(STATS)
    for some in (queries, [*queries, *map(str, range(30))], queries):
        assert np.array_equal(features(tight, context, some), features(wide, context, some), equal_nan=True)


def test_spelling_that_is_the_same_query_has_the_same_features() -> None:
    """Case and spaces are no news: the log is normalised, what front ends send is not."""
    raw = computed(["Tent "], entry("search", 1, " TENT"), entry("search", 2, "tent"))
    normal = computed(["tent"], entry("search", 1, "tent"), entry("search", 2, "tent"))
    assert raw[0] == pytest.approx(normal[0], nan_ok=True)
    assert raw[0]["triggers"] == 1


def test_a_query_that_nobody_searched_is_known_by_its_words() -> None:
    """It has categories, a brand and words, and only its own popularity is missing."""
    (new,) = computed(["waterproof campra tent"], entry("click", 1, "t1"))
    assert new["popularity"] == 0
    assert new["names_brand"] == 1
    assert new["category_focus"] > 0.5
    assert new["category_latest"] > 0.5
    assert new["brand_days"] > 0.9


def test_unknown_words_are_unknown_not_an_error() -> None:
    """Nothing is said of categories, and nothing matches."""
    (strange,) = computed(["zzqx"], entry("search", 1, "qqq"))
    assert math.isnan(strange["category_popularity"])
    assert strange["category_focus"] == strange["department_days"] == strange["category_days"] == 0


def test_recent_actions_in_the_category_count_by_kind_and_age() -> None:
    """A click an hour ago, a purchase a day ago."""
    tent, perfume = computed(["tent", "香水"], entry("click", 1, "t1"), entry("purchase", 24, "t1"))
    assert tent["category_hours"] == pytest.approx(math.log1p(1))
    assert tent["category_bought_hours"] == pytest.approx(math.log1p(24))
    assert tent["category_clicked"] > tent["category_bought"] > 0
    assert perfume["category_clicked"] == 0
    assert math.isnan(perfume["category_hours"])


def test_repeats_are_seen_word_for_word_and_nearly() -> None:
    """A plural is a near-duplicate, not the same query."""
    same, near = computed(["tent", "tents"], entry("search", 3, "tent"))
    assert same["same_query_hours"] == pytest.approx(math.log1p(3))
    assert math.isnan(near["same_query_hours"])
    assert near["near_query_hours"] == pytest.approx(math.log1p(3))


def test_words_in_common_weigh_by_rarity() -> None:
    """The latest search says `tent`, the rarer half of the query it does not say."""
    (refined,) = computed(["waterproof tent"], entry("search", 1, "tent"))
    assert refined["words_in_latest_search"] == pytest.approx(1 / 3)
    assert refined["latest_search_kept"] == 1


def test_characters_in_common_count_for_chinese() -> None:
    """CJK text has no spaces, so pairs of characters are its words."""
    (perfume,) = computed(["香水"], entry("click", 1, "p1"))
    assert perfume["words_in_titles"] == 1
    assert perfume["cjk"] == 1


def test_what_follows_a_purchase_is_expected() -> None:
    """After a tent, a stove."""
    stove, perfume = computed(["stove", "香水"], entry("purchase", 1, "t1"))
    assert stove["after_bought"] > stove["after_seen"] > 0 == perfume["after_bought"]


def test_a_profile_lifts_what_its_shoppers_search() -> None:
    """Campers search tents oftener; a value that nobody has says nothing."""
    (camper,) = computed(["tent"], profile={"segment": "campers"})
    (student,) = computed(["tent"], profile={"segment": "students"})
    (stranger,) = computed(["tent"], profile={"segment": "astronauts"})
    assert camper["lift_segment"] > 0 > student["lift_segment"]
    assert math.isnan(stranger["lift_segment"])


def test_never_shown_differs_from_not_counted() -> None:
    """Some callers keep no count of showings."""
    assert [computed(["Tent"], shown=shown)[0]["shown"] for shown in ({"tent": 2}, {})] == [2, 0]
    assert math.isnan(computed(["tent"])[0]["shown"])


def test_only_the_newest_actions_count() -> None:
    """What an online caller has at hand is what training sees."""
    newest = [entry("search", 1, f"q{number}") for number in range(20)]
    with_older, without = computed(["tent"], *newest, entry("click", 9, "t1")), computed(["tent"], *newest)
    assert with_older[0] == pytest.approx(without[0], nan_ok=True)


def test_what_was_saved_is_opened(tmp_path: Path) -> None:
    """Scores survive, also when an older ranker is replaced."""
    context = ShopperContext(NOW, [entry("click", 1, "t1")], items=ITEMS)
    for _ in range(2):
        save(tmp_path / "ctr", meta(), STATS, TREES, {"calibration.png": b"png"})
        opened = CtrScorer.open(tmp_path / "ctr")
        assert np.array_equal(opened.score(context, ["tent"]), SCORER.score(context, ["tent"]))
    assert [path.name for path in tmp_path.iterdir()] == ["ctr"]


@pytest.mark.parametrize("name", ["meta.json", "model.txt", "queries.json"])
def test_a_broken_ranker_is_refused(tmp_path: Path, name: str) -> None:
    """Missing, half copied or altered: the message names the file and the fix."""
    folder = tmp_path / "ctr"
    save(folder, meta(), STATS, TREES)
    content = (folder / name).read_bytes()
    for broken in (content[: len(content) // 2], b"x" * len(content), None):
        if broken is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(broken)
        with pytest.raises(ArtefactError, match=rf"{name}: .*aigq train ctr"):
            CtrScorer.open(folder)


@pytest.mark.parametrize("change", [{"version": 0}, {"features": ["other"]}, {"files": {}}, {"surprise": 1}])
def test_a_ranker_of_other_features_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """Columns that mean something else would give wrong scores without a sign."""
    save(tmp_path / "ctr", meta(), STATS, TREES)
    path = tmp_path / "ctr" / "meta.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | change))
    with pytest.raises(ArtefactError, match="aigq train ctr"):
        CtrScorer.open(tmp_path / "ctr")


@pytest.mark.parametrize("name", ["model.txt", "queries.json"])
def test_files_that_are_something_else_are_refused(tmp_path: Path, name: str) -> None:
    """Even if the digest fits."""
    stats, model = (STATS, "not trees") if name == "model.txt" else (b"[]", TREES)
    fake: Any = stats if isinstance(stats, QueryStats) else type("Fake", (), {"dump": lambda _: b"[]"})()
    save(tmp_path / "ctr", meta(), fake, model)
    with pytest.raises(ArtefactError, match=name):
        CtrScorer.open(tmp_path / "ctr")

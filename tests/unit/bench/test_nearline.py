"""The nearline benchmark compares like with like."""

from pathlib import Path

from service.ranking.catalogue import Catalogue
from tests.support import TENT
from workers.bench.nearline import Plan, figures, tokens
from workers.bench.visitors import Visitor
from workers.common.prompt import CANDIDATES_KEY
from workers.common.ranked_list import ranker_beside, ranking_settings, shipped_ranker

MINI = Path(__file__).parents[3] / "models" / "aigq-mini"
VISITOR = Visitor("v", [("search", 30.0, "tent"), ("click", 20.0, TENT)])


def test_events_and_prompt_tell_the_same(catalogue: Catalogue) -> None:
    """What is posted is what the engine's prompt says."""
    search, click = VISITOR.events(1000.0)
    assert search == {"user_id": "v", "type": "search", "ts": 970.0, "query": "tent"}
    assert click == {"user_id": "v", "type": "click", "ts": 980.0, "item_id": TENT}
    assert VISITOR.prompt(catalogue, 1000.0).startswith("<u2q><now><search>\ntent<click>")


def test_the_plain_prompt_tells_the_same(catalogue: Catalogue) -> None:
    """The same actions, oldest first, with full titles; an item that left the catalogue has nothing to tell."""
    gone = Visitor("v", [*VISITOR.actions, ("cart", 10.0, "left the catalogue")])
    plain = gone.plain_prompt(catalogue, 1000.0)
    title = catalogue.items([TENT])[TENT].title
    lines = [line for line in plain.splitlines() if line.startswith("- ")]
    assert ["tent" in lines[0], title in lines[1]] == [True, True]
    assert len(lines) == 2
    assert lines == [line for line in VISITOR.plain_prompt(catalogue, 1000.0).splitlines() if line.startswith("- ")]


def test_tokens_are_the_checkpoints_own() -> None:
    """A special token is one; plain language takes many."""
    assert tokens(MINI, ["<u2q>", "<u2q><now>"]) == 3
    assert tokens(MINI, ["What the shopper did, oldest first:"]) > 5


def test_the_ratio_is_within_a_round() -> None:
    """A machine that slows down between rounds slows both."""
    counts = {
        "prompt_tokens": 500.0,
        "plain_prompt_tokens": 2000.0,
        "tokens": 300.0,
        "prefix_queries": 500.0,
        "prefix_hits": 50.0,
    }
    slow, quick = ({"seconds": seconds, **counts} for seconds in (4.0, 2.0))
    found = figures([(slow, quick), (quick, {**quick, "seconds": 1.0})], Plan(shoppers=10, repeats=2))
    assert found["ratio_vs_raw_vllm"] == {"median": 0.5, "min": 0.5, "max": 0.5}
    assert found["nearline_shoppers_s"] == {"median": 3.75, "min": 2.5, "max": 5.0}
    assert found["plain_prompt_tokens_a_shopper"]["median"] == 200.0
    assert found["tokens_a_shopper"]["median"] == 30.0
    assert found["prefix_cache_hit_rate"]["max"] == 0.1


def test_a_worker_ranks_as_is_meant_for_its_model(tmp_path: Path) -> None:
    """With the ranker beside the checkpoint, prompts tell as many candidates as it was taught with."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(f'{{"{CANDIDATES_KEY}": 20}}')
    assert ranking_settings(model, shipped_ranker(model)) == {}
    ranker_beside(model).mkdir()
    assert ranking_settings(model, shipped_ranker(model)) == {
        "AIGQ_DIRECT_RANKER": str(ranker_beside(model)), "AIGQ_DIRECT_CANDIDATES": "20",
    }  # fmt: skip
    ctr = tmp_path / "model-ctr"
    ctr.mkdir()
    assert ranking_settings(model, shipped_ranker(model))["AIGQ_DIRECT_CTR"] == str(ctr)

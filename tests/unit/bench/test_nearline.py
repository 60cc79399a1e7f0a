"""The nearline benchmark compares like with like."""

from pathlib import Path

from service.ranking.catalogue import Catalogue
from tests.support import TENT
from workers.bench.nearline import Plan, Visitor, figures, ranked_as_shipped
from workers.common.prompt import CANDIDATES_KEY
from workers.common.ranked_list import ranker_beside

VISITOR = Visitor("v", [("search", 30.0, "tent"), ("click", 20.0, TENT)])


def test_events_and_prompt_tell_the_same(catalogue: Catalogue) -> None:
    """What is posted is what the engine's prompt says."""
    search, click = VISITOR.events(1000.0)
    assert search == {"user_id": "v", "type": "search", "ts": 970.0, "query": "tent"}
    assert click == {"user_id": "v", "type": "click", "ts": 980.0, "item_id": TENT}
    assert VISITOR.prompt(catalogue, 1000.0).startswith("<u2q><now><search>\ntent<click>")


def test_the_ratio_is_within_a_round() -> None:
    """A machine that slows down between rounds slows both."""
    counts = {"prompt_tokens": 500.0, "tokens": 300.0, "prefix_queries": 500.0, "prefix_hits": 50.0}
    slow, quick = ({"seconds": seconds, **counts} for seconds in (4.0, 2.0))
    found = figures([(slow, quick), (quick, {**quick, "seconds": 1.0})], Plan(shoppers=10, repeats=2))
    assert found["ratio_vs_raw_vllm"] == {"median": 0.5, "min": 0.5, "max": 0.5}
    assert found["nearline_shoppers_s"] == {"median": 3.75, "min": 2.5, "max": 5.0}
    assert found["tokens_a_shopper"]["median"] == 30.0
    assert found["prefix_cache_hit_rate"]["max"] == 0.1


def test_a_worker_ranks_as_is_meant_for_its_model(tmp_path: Path) -> None:
    """With the ranker beside the checkpoint, prompts tell as many candidates as it was taught with."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(f'{{"{CANDIDATES_KEY}": 20}}')
    assert ranked_as_shipped(model) == {}
    ranker_beside(model).mkdir()
    assert ranked_as_shipped(model) == {
        "AIGQ_DIRECT_RANKER": str(ranker_beside(model)), "AIGQ_DIRECT_CANDIDATES": "20",
    }  # fmt: skip

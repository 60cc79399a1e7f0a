"""Lists with reasons from a real vLLM: rationale, its end, and the list that follows, in two requests."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from service.contracts.settings import VllmSettings
from workers.common.prompt import HINTS, render_x2q_category, render_x2q_item, render_x2q_query, with_reasons
from workers.common.ranked_list import penalties_of
from workers.common.reasons import parse_answer
from workers.evaluation.generate import generate
from workers.evaluation.server import serving

MODEL = Path(__file__).parents[2] / "models" / "aigq-mini-think"
PLAIN = [
    *(render_x2q_category(f"Pet Supplies > Dogs > {name}") for name in ("Dog Food", "Dog Beds", "Dog Toys")),
    *map(render_x2q_query, ("phone", "running shoes", "dome tent", "coffee pods", "diapers")),
    render_x2q_item("Silicone Case for 6.1 inch Phone, Clear", "Electronics > Phones & Accessories > Phone Cases"),
]


@pytest.mark.vllm
def test_a_real_model_gives_reasons_and_then_the_list() -> None:
    """Nearly all parse; a list has no query twice, which penalties see to, and goes beyond what its trigger says."""
    prompts = [with_reasons(one) for one in PLAIN]
    with serving(MODEL, "think", VllmSettings().model_copy(update=penalties_of(MODEL))) as vllm:
        answers = asyncio.run(generate(vllm, prompts, lambda _: None))
    drops: Counter[str] = Counter()
    found = [parse_answer(prompt, answers[prompt], drops, lambda _: None) for prompt in prompts]
    reasoned = [one for one in found if one is not None]
    assert len(reasoned) >= len(prompts) - 1, drops
    assert all(any(char.isalpha() for char in one.rationale) for one in reasoned)
    assert sum(len(one.queries) for one in reasoned) >= 7 * len(reasoned)
    lists = [answers[prompt].text.partition(HINTS)[2].strip().split("\n") for prompt in prompts]
    assert sum(len(lines) - len(set(lines)) for lines in lists) <= 2, lists
    (food,) = (one for one, prompt in zip(found, prompts, strict=True) if "dog food" in prompt)
    assert food is not None
    assert any("dog food" not in query for query, _ in food.queries), "the list follows from what goes with it"

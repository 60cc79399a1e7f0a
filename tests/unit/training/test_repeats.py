"""Lists of IL-GRPO are drawn as they are served: no query twice."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Qwen3Config

from workers.common.prompt import HINTS
from workers.training.recipe import GrpoRecipe
from workers.training.repeats import NoRepeats
from workers.training.tokenizer import openings
from workers.training.tokenizer import train as train_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, trl and vllm deprecate among themselves
PADDING, MARK, QUERIES, VOCABULARY = 0, 1, (4, 5, 6, 7), 8
TOKENS = st.lists(st.sampled_from([2, 3, *QUERIES]), max_size=8)


@given(TOKENS.filter(bool), st.none() | TOKENS, TOKENS.filter(bool), st.integers(0, 99))
@settings(max_examples=100)
def test_what_is_learned_is_barred_as_when_it_was_drawn(
    prompt: list[int], rationale: list[int] | None, queries: list[int], seed: int
) -> None:
    """Token by token or all at once: the list's queries so far, none of the prompt's or of a rationale's."""
    written = queries if rationale is None else [*rationale, MARK, *queries]
    ids = [*prompt, MARK, *written] if rationale is None else [*prompt, *written]
    begin = len(ids) - len(written)
    no_repeats = NoRepeats(QUERIES, MARK, PADDING)
    scores = torch.rand(len(written), VOCABULARY, generator=torch.Generator().manual_seed(seed))
    at_once = no_repeats.bar(scores, torch.tensor([ids]), torch.ones(1, len(written), dtype=torch.bool))
    for n in range(len(written)):
        before = torch.tensor([ids[: begin + n]], dtype=torch.long)
        listed = set(queries[: max(0, n - len(written) + len(queries))]) & set(QUERIES)
        free = [token for token in range(VOCABULARY) if token not in listed | {PADDING}]
        assert torch.equal(at_once[n, free], scores[n, free])
        assert bool((at_once[n, [*listed, PADDING]] < -1).all())
        assert torch.equal(no_repeats(before, scores[n : n + 1])[0], at_once[n])


def test_padding_on_either_side() -> None:
    """Rows of different lengths, as a step's are: prompts padded on the left, lists on the right."""
    ids = torch.tensor([[PADDING, MARK, 4, 5, 3], [5, MARK, 6, PADDING, PADDING]])
    written = torch.tensor([[True, True, True], [True, False, False]])
    barred = NoRepeats(QUERIES, MARK, PADDING).bar(torch.zeros(4, VOCABULARY), ids, written) < -1
    assert [row.nonzero().flatten().tolist() for row in barred] == [[0], [0, 4], [0, 4, 5], [0]]


def test_no_list_has_a_query_twice() -> None:
    """Drawn from a model that knows nothing, which repeats itself if it may."""
    from workers.training.grpo import ListPolicyTrainer  # noqa: PLC0415  (trl is slow to import, and warns)

    tokenizer = train_tokenizer(["tent lamp rope"], 340, ["\ntent", "\nlamp", "\nrope"])
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8}
    from_config: Any = AutoModelForCausalLM.from_config  # has no types
    model = from_config(Qwen3Config(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, **sizes))
    queries = set(openings(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all tokens are as likely, but for
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
        model.lm_head.bias[[*queries]] = 8.0
    asked = tokenizer([f"\ntent{HINTS}"] * 32, add_special_tokens=False, return_tensors="pt")

    def twice() -> int:
        drawn = model.generate(
            input_ids=asked["input_ids"], do_sample=True, max_new_tokens=3, pad_token_id=tokenizer.pad_token_id
        )[:, asked["input_ids"].shape[1] :].tolist()
        assert any(set(row) == queries for row in drawn)
        return sum(len(set(row)) < len(row) for row in drawn)

    assert twice() > 0
    trainer = object.__new__(ListPolicyTrainer)
    trainer.set_up([], None, GrpoRecipe(steps=1, prompts=1, group=2, learning_rate=1e-3), tokenizer)  # type: ignore[arg-type]
    trainer.draw_as_served(model)
    assert twice() == 0

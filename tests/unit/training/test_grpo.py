"""IL-GRPO on a model so small that it learns in seconds: rewards rise, and a killed run goes on."""

import json
import math
from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from service.ranking.shopper_context import ShopperContext
from workers.training.occasions import Occasion, Rewarder
from workers.training.recipe import GrpoRecipe, Recipe, RewardWeights
from workers.training.rewards import FLOOR, LineScores, Written, droppable, query_rewards, sequence_reward
from workers.training.samples import Sample
from workers.training.tokenizer import learn_reasons
from workers.training.tokenizer import train as train_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # torch, trl and vllm deprecate among themselves
WORDS = ("tent", "lamp", "rope")
RECIPE = Recipe.load("smoke")
STAGE = GrpoRecipe(
    steps=24, prompts=2, group=8, iterations=2, learning_rate=3e-3, max_tokens=10, entropy_target=1.0, checkpoints=2
)


class LikesTents:
    """Being right is a line "tent"."""

    def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
        """See `Rewarder.rewards`."""
        dropped = droppable(written, lambda _: True)
        scores = LineScores(ctr=[0.0] * len(written.lines), expected=[0.0] * len(written.lines))
        lines = query_rewards(written, occasion.labels, ["tent"], scores, dropped, RewardWeights())
        return lines, sequence_reward(written, occasion.labels, dropped)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that writes three words in any order, whoever asks."""
    from workers.training import sft  # noqa: PLC0415  (trl is slow to import, and warns)

    path = tmp_path_factory.mktemp("model") / "start"
    orders = [list(order) for order in permutations(WORDS)]
    rows = [Sample.listed(one.prompt, order) for one in _occasions() for order in orders]
    sizes = {"hidden_size": 32, "intermediate_size": 32, "layers": 1, "heads": 1, "head_dim": 16, "max_tokens": 64}
    recipe = RECIPE.model_copy(update={"model": RECIPE.model.model_copy(update=sizes)})
    stage = recipe.sft.model_copy(update={"epochs": 40.0, "learning_rate": 1e-2, "checkpoints": 1})
    sft.train(rows, train_tokenizer([row.text for row in rows], 360), recipe, stage, path)
    return path


def _occasions() -> list[Occasion]:
    return [Occasion(f"<u2q><profile>{word}<hints>", ["tent"], ["tent"], ShopperContext(0.0)) for word in WORDS * 4]


def train(judge: Rewarder, stage: GrpoRecipe, start: Path, out: Path, *sources: str) -> dict[str, float]:
    """Run the stage."""
    from workers.training import grpo  # noqa: PLC0415  (trl is slow to import, and warns)

    return grpo.train(_occasions(), judge, RECIPE, stage, start, out, sources)


def _weights(model: Path) -> list[torch.Tensor]:
    return list(load_file(model / "model.safetensors").values())


def _log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out.parent / f"{out.name}.work" / "loss.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("advantage", ["query", "list"])
def test_rewards_rise(start: Path, tmp_path: Path, advantage: str) -> None:
    """With an advantage a query and with one a list; curves are drawn, and a finished run is not done again."""
    stage = STAGE.model_copy(update={"advantage": advantage, "steps": 80, "learning_rate": 1e-2})
    out = tmp_path / "out"
    figures = train(LikesTents(), stage, start, out)
    log = _log(out)
    rewards = [one["reward"] for one in log if "reward" in one]  # of steps for which lists were drawn anew
    assert len(rewards) > 6
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1
    assert {"entropy", "idle_groups", "found", "sequence_reward", "entropy_coef"} <= log[0].keys()
    assert (out / "loss.png").exists()
    assert figures["lists"] == stage.steps * 2 * 8
    assert train(LikesTents(), stage, start, out) == figures
    assert len(_log(out)) == len(log)


def test_what_rewards_come_from_names_a_run(start: Path, tmp_path: Path) -> None:
    """The same recipe with another ranker is another run: it is done, not taken for finished."""
    stage = STAGE.model_copy(update={"steps": 2})
    out = tmp_path / "out"
    train(LikesTents(), stage, start, out, "one ranker")
    before = (out / "model.safetensors").stat().st_mtime_ns
    train(LikesTents(), stage, start, out, "one ranker")
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    train(LikesTents(), stage, start, out, "another")
    assert (out / "model.safetensors").stat().st_mtime_ns > before


def test_switches_off(start: Path, tmp_path: Path) -> None:
    """Without the entropy bonus there is no coefficient to log; without adaptive clipping training goes on too."""
    stage = STAGE.model_copy(update={"steps": 2, "adaptive_clip": False, "dynamic_entropy": False})
    train(LikesTents(), stage, start, tmp_path / "out")
    assert "entropy_coef" not in _log(tmp_path / "out")[-1]


def test_a_reward_that_is_not_a_number(start: Path, tmp_path: Path) -> None:
    """Costs its group, which is counted, and nothing else: weights stay numbers."""

    class Confused(LikesTents):
        asked = 0

        def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
            lines, whole = super().rewards(occasion, written)
            self.asked += 1
            return ([math.nan] * len(lines), whole) if self.asked % 16 == 1 else (lines, whole)

    stage = STAGE.model_copy(update={"steps": 4})
    train(Confused(), stage, start, tmp_path / "out")
    log = _log(tmp_path / "out")
    assert [one["idle_groups"] for one in log if "idle_groups" in one] == [0.5, 0.5]
    assert all(one["steps_skipped"] == 0 for one in log)
    assert all(torch.isfinite(weights).all() for weights in _weights(tmp_path / "out"))


def test_a_gradient_that_is_not_a_number(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs its step, which is counted, and nothing else."""
    from workers.training import grpo  # noqa: PLC0415

    def broken(found: list[list[float]], _: object, tokens: int) -> torch.Tensor:
        return torch.full((len(found), tokens), math.inf)

    monkeypatch.setattr(grpo, "on_tokens", broken)
    train(LikesTents(), STAGE.model_copy(update={"steps": 2}), start, tmp_path / "out")
    assert all(one["steps_skipped"] == 1 for one in _log(tmp_path / "out"))
    for ours, theirs in zip(_weights(tmp_path / "out"), _weights(start), strict=True):
        assert torch.equal(ours.float(), theirs.to(torch.bfloat16).float())


def test_a_rationale_is_worth_its_list_and_no_answer_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for reasons: they are one part, the list's queries the others; what does not parse is one part in all."""
    from workers.training.grpo import ListPolicyTrainer  # noqa: PLC0415

    tokenizer = train_tokenizer(["tent lamp; next"], 340)
    learn_reasons(tokenizer)
    trainer = object.__new__(ListPolicyTrainer)
    monkeypatch.setattr(trainer, "_log_metric", lambda *_: None, raising=False)
    asked = Occasion("<x2q><item>\ntent<reasons>", ["tent"], (), ShopperContext(0.0))
    trainer.set_up([asked, _occasions()[0]], LikesTents(), STAGE, tokenizer)

    def tokens(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    listed = "\ntent\nlamp<eos>"
    answers = [f"lamp; next<hints>{listed}", listed, f"lamp<hints>{listed}<hints>", f"la\nmp<hints>{listed}", "<hints>"]
    means = trainer.score([0, 0, 0, 0, 0, 1], [*map(tokens, answers), tokens(listed)])
    plain = trainer._rewards[-1]
    assert trainer._rewards == [[None, *plain], *[[FLOOR]] * 4, plain]
    assert trainer._lengths[0] == [len(tokens("lamp; next<hints>")), *trainer._lengths[-1]]
    assert [sum(one) for one in trainer._lengths] == [len(tokens(one)) for one in (*answers, listed)]
    assert trainer._sequences == [trainer._sequences[-1], *[FLOOR] * 4, trainer._sequences[-1]]
    assert means == pytest.approx([means[-1], *[FLOOR] * 4, means[-1]])
    assert plain[0] is not None
    assert plain[0] > FLOOR


def test_clip_ranges() -> None:
    """By a token's entropy over the mean of what was written, between half and twice; padding has no say."""
    from workers.training.grpo import clip_scale  # noqa: PLC0415

    entropies = torch.tensor([[1.0, 1.5, 0.2, 9.0], [1.0, 1.3, 9.0, 9.0]])
    written = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    assert torch.allclose(clip_scale(entropies, written)[:, :3], torch.tensor([[1, 1.5, 0.5], [1, 1.3, 2]]))
    assert torch.isfinite(clip_scale(torch.zeros(2, 4), written)).all()


def test_a_killed_run_goes_on(start: Path, tmp_path: Path) -> None:
    """From its last whole checkpoint; one that the kill cut short is not used."""

    class Killed(LikesTents):
        asked = 0

        def rewards(self, occasion: Occasion, written: Written) -> tuple[list[float], float]:
            self.asked += 1
            if self.asked > 16 * 8:
                raise KeyboardInterrupt
            return super().rewards(occasion, written)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(Killed(), STAGE, start, out)
    assert not out.exists()
    (checkpoint,) = (tmp_path / "out.work").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-12"
    steps = [one["step"] for one in _log(out)]
    train(LikesTents(), STAGE, start, out)
    assert (out / "model.safetensors").exists()
    again = [one["step"] for one in _log(out)][len(steps) :]
    assert again[0] == 13
    assert again[-1] == 24

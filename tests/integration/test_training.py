"""Training for real, at toy size: logs to checkpoint, loss falls, a killed run resumes, the tokenizer is exact."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.contracts.errors import ArtefactError
from workers.common.prompt import EOS, SEPARATOR, SPECIAL_TOKENS, with_reasons
from workers.common.reasons import render_reasoned
from workers.training.recipe import Recipe
from workers.training.samples import Sample

WORDS = ("tent", "stove", "lamp", "boots", "rope", "mug")


def toy_samples(count: int) -> list[Sample]:
    """Return samples in which the list follows from the search."""
    rows = []
    for index in range(count):
        one, two = WORDS[index % 6], WORDS[(index + 1) % 6]
        rows.append(Sample.listed(f"<u2q><search>\n{one}<hints>", [two, f"{two} for camping", f"best {two}"]))
    return rows


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Return `mini` at toy width."""
    content = Recipe.load("mini").model_dump()
    content["model"] |= {
        "hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32
    }  # fmt: skip
    content["tokenizer"]["vocabulary"] = 340
    content["sft"] |= {"epochs": 10.0, "batch_size": 8, "learning_rate": 3e-3, "checkpoints": 2}
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def trained(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained toy checkpoint."""
    from workers.training import sft, tokenizer  # noqa: PLC0415  (torch is slow to import)

    rows = toy_samples(240)
    out = tmp_path_factory.mktemp("training") / "toy"
    own = tokenizer.train((row.text for row in rows), recipe.tokenizer.vocabulary)
    sft.train(rows, own, recipe, recipe.sft, out)
    return out


@pytest.mark.filterwarnings("ignore")  # torch and trl deprecate among themselves
def test_loss_falls(trained: Path) -> None:
    """The last logged loss is well under the first."""
    log = trained.with_name("toy.work") / "loss.jsonl"
    losses = [json.loads(line)["loss"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert losses[-1] < 0.5 * losses[0]
    assert (trained / "loss.png").stat().st_size > 1000


@pytest.mark.filterwarnings("ignore")
def test_the_model_answers_with_the_list_it_was_taught(trained: Path) -> None:
    """Greedy decoding of a known prompt gives the label and ends."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32)
    ids = tokenizer("<u2q><search>\ntent<hints>", return_tensors="pt", add_special_tokens=False)["input_ids"]
    made = model.generate(ids, max_new_tokens=60, do_sample=False)[0, ids.shape[1] :]
    assert tokenizer.decode(made, skip_special_tokens=True) == "\nstove\nstove for camping\nbest stove"
    assert made[-1] == tokenizer.convert_tokens_to_ids(EOS)


@pytest.mark.filterwarnings("ignore")
def test_special_tokens_and_newlines_are_single_tokens(trained: Path) -> None:
    """A field is one token, a separator is one token, and text comes back as it went in."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(trained)
    for token in (*SPECIAL_TOKENS, "\n"):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1, token
    text = "usb-c charger 65w\n帐篷 双人\nnaïve"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.filterwarnings("ignore")
def test_a_killed_run_resumes_and_another_recipe_starts_over(recipe: Recipe, tmp_path: Path) -> None:
    """Work in progress is picked up by the same recipe only."""
    from workers.training import sft, tokenizer  # noqa: PLC0415

    rows = toy_samples(64)
    own = tokenizer.train((row.text for row in rows), 340)
    first = sft.train(rows, own, recipe, recipe.sft, tmp_path / "toy")
    steps = json.loads((tmp_path / "toy.work" / "loss.jsonl").read_text(encoding="utf-8").splitlines()[-1])["step"]
    kept = [path.name for path in (tmp_path / "toy.work").glob("checkpoint-*")]
    assert kept == ["checkpoint-80"]
    assert steps <= 80
    again = sft.train(rows, own, recipe, recipe.sft, tmp_path / "toy")
    assert again == first, "nothing was left to train"
    (tmp_path / "toy.work" / "done.json").unlink()
    (tmp_path / "toy.work" / "checkpoint-999").mkdir()
    (tmp_path / "toy.work" / "checkpoint-999" / "trainer_state.json").write_text('{"cut sho', encoding="utf-8")
    resumed = sft.train(rows, own, recipe, recipe.sft, tmp_path / "toy")
    assert resumed["steps"] == again["steps"], "a save that a kill cut short is not resumed from"
    other = recipe.model_copy(update={"seed": 8})
    sft.train(rows, own, other, other.sft, tmp_path / "toy")
    described = json.loads((tmp_path / "toy.work" / "run.json").read_text(encoding="utf-8"))
    assert described[0]["seed"] == 8


@pytest.mark.filterwarnings("ignore")
def test_reasons_are_learned_by_a_model_that_had_none(trained: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Asked for reasons it gives them, then `<hints>` and the list; asked for a list alone, the list, as before."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    from workers.training import sft, tokenizer  # noqa: PLC0415

    own = AutoTokenizer.from_pretrained(trained)
    tokenizer.learn_reasons(own)
    plain = toy_samples(120)
    taught = []
    for sample in plain:
        (prompt, _), (listed, _) = sample.pieces
        queries = listed.split(SEPARATOR)[1:]
        reasoned = render_reasoned(f"next {queries[0]}", queries)
        taught.append(Sample(((with_reasons(prompt), False), (reasoned, True))))
    sft.train([*plain, *taught], own, recipe, recipe.sft, tmp_path / "toy", trained)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "toy", dtype=torch.float32)
    own = AutoTokenizer.from_pretrained(tmp_path / "toy")

    def answer(prompt: str) -> str:
        ids = own(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        made = model.generate(ids, max_new_tokens=80, do_sample=False)[0, ids.shape[1] :]
        text: str = own.decode(made, skip_special_tokens=False)
        return text.removesuffix(EOS)

    expected = "\nstove\nstove for camping\nbest stove"
    assert answer("<u2q><search>\ntent<hints>") == expected
    assert answer("<u2q><search>\ntent<reasons>") == f"next stove<hints>{expected}"


@pytest.mark.filterwarnings("ignore")
def test_a_full_disk_is_told_before_training(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a traceback after an hour; the same command goes on once there is room."""
    from workers.training import sft, tokenizer  # noqa: PLC0415

    rows, out = toy_samples(8), tmp_path / "toy"
    own = tokenizer.train((row.text for row in rows), 340)
    stage = recipe.sft.model_copy(update={"epochs": 1.0, "checkpoints": 1})
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        with pytest.raises(ArtefactError, match=rf"{out}: needs \d+ MB, and 1 MB are free"):
            sft.train(rows, own, recipe, stage, out)
    assert not out.exists()
    sft.train(rows, own, recipe, stage, out)
    assert out.exists()


def test_what_began_an_earlier_line_is_held_against_the_model() -> None:
    """Only where another line begins, only what began an earlier one, and never the right answer."""
    import torch  # noqa: PLC0415

    from workers.training.sft import _said_again  # noqa: PLC0415

    end, one, two, more = 1, 2, 3, 4
    ids = torch.tensor([[0, one, more, end, two, end, one]])  # a prompt of one token, then three lines
    learned = torch.ones(1, 6, dtype=torch.bool)
    even = torch.zeros(6, 5)  # every token has a chance of 1/5
    # Second line: not `one` again (1/5). Third: `one` is right although it is said again, so not `two` (1/5).
    found = _said_again(even, ids, learned, (0, end), ())
    assert found.item() == pytest.approx(-2 * math.log(0.8))
    assert _said_again(even, ids[:, :3], learned[:, :2], (0, end), ()).item() == 0.0
    # The same where a line is one token that begins by itself; `more` begins none.
    whole = torch.tensor([[0, one, more, two, one]])
    found = _said_again(even, whole, learned[:, :4], (end,), (one, two))
    assert found.item() == pytest.approx(-2 * math.log(0.8))

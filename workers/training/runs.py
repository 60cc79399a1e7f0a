"""A training run on disk: work in progress that a kill does not lose, and a model that appears in one rename.

Of several processes of one run (`accelerate launch`), the main one writes.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers.trainer import TRAINER_STATE_NAME

from service.ranking.catalogue import digest as digest_of_file
from service.ranking.model_folder import check_room

_DONE = "done.json"
"""In the work directory: the figures of a stage that is finished, so that a rerun goes on to the next."""
_RUN = "run.json"
_BYTES = 2 * (4 + 8) + 2
"""A trained parameter on disk: two checkpoints, of which the older goes last, with the optimiser's two moments in
float32, and the model in bfloat16."""


def work_directory(out: Path, described: list[Any]) -> Path:
    """Return where work in progress on `out` is kept; what another recipe or other data left there is thrown away."""
    work = out.with_name(out.name + ".work")
    content = json.dumps(described)
    known = work / _RUN
    with PartialState().main_process_first():
        if work.exists() and not (known.exists() and known.read_text(encoding="utf-8") == content):
            shutil.rmtree(work)
        work.mkdir(parents=True, exist_ok=True)
        known.write_text(content, encoding="utf-8")
    return work


def check_space(out: Path, model: Any) -> None:
    """Make sure that there is room for all that training `model` writes at and beside `out`.

    Raises:
        ArtefactError: there is not.
    """
    check_room(out, _BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad))


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return bool(PartialState().is_main_process)


def digest(model: Path) -> str:
    """Return a digest of the weights of a checkpoint or an adapter."""
    files = [digest_of_file(file) for file in weights(model)]
    return files[0] if len(files) == 1 else hashlib.blake2b("".join(files).encode(), digest_size=8).hexdigest()


def weights(model: Path) -> list[Path]:
    """Return the files that hold a checkpoint's or an adapter's weights; none if it is neither."""
    return sorted(model.glob("*.safetensors"))


def finished(work: Path, out: Path) -> dict[str, float] | None:
    """Return the figures of a run that is finished, whose model is still there; None otherwise."""
    if not ((work / _DONE).exists() and weights(out)):
        return None
    figures: dict[str, float] = json.loads((work / _DONE).read_text(encoding="utf-8"))
    return figures


def resumable(work: Path) -> bool:
    """Whether there is a checkpoint to go on from; one that a kill cut short is removed."""
    with PartialState().main_process_first():
        for half in filter(_is_half_written, work.glob("checkpoint-*")):
            shutil.rmtree(half)
    return any(work.glob("checkpoint-*"))


def _is_half_written(checkpoint: Path) -> bool:
    """Whether the save was interrupted: the trainer's state is what transformers writes last."""
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return False


@contextmanager
def replacing(work: Path, out: Path, figures: Mapping[str, float]) -> Iterator[Path]:
    """Yield a directory to write the model to; it then takes the place of `out`, and `figures` are kept.

    At no moment is a half-written model at `out`. Processes leave the block together.
    """
    staging = out.with_name(f".{out.name}.staging")
    if is_main():
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        staging.rename(out)
        shutil.rmtree(old, ignore_errors=True)
        (work / _DONE).write_text(json.dumps(dict(figures)), encoding="utf-8")
    else:
        yield staging
    PartialState().wait_for_everyone()

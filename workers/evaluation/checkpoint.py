"""A checkpoint directory on disk: whether it is one, and its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from service.contracts.errors import ArtefactError
from workers.evaluation.libraries import optional

_NEEDED: Final = ("config.json", "tokenizer.json")
_FIX: Final = "name a directory that aigq train wrote (an adapter: after aigq train merge), or that transformers saved"


def check(path: Path) -> None:
    """Make sure that `path` is a checkpoint that vLLM can serve.

    Raises:
        ArtefactError: a file is missing or broken; the message names it and the fix.
    """
    if not path.is_dir():
        raise ArtefactError(f"{path}: is no directory; {_FIX}")
    for name in _NEEDED:
        if not (path / name).exists():
            raise ArtefactError(f"{path / name}: missing, so {path} is not a checkpoint; {_FIX}")
    if not any(path.glob("*.safetensors")):
        raise ArtefactError(f"{path}: has no *.safetensors (weights), so it is not a checkpoint; {_FIX}")
    context_length(path)


def context_length(path: Path) -> int:
    """Return how many tokens the model can read.

    Raises:
        ArtefactError: config.json is not a model's.
    """
    try:
        return int(orjson.loads((path / "config.json").read_bytes())["max_position_embeddings"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise ArtefactError(f"{path / 'config.json'}: does not give max_position_embeddings; {_FIX}") from None


def mean_tokens(path: Path, prompts: Sequence[str]) -> float:
    """Return the mean length of `prompts` in tokens of the checkpoint's own tokenizer.

    Raises:
        ArtefactError: tokenizer.json cannot be read.
    """
    file = path / "tokenizer.json"
    try:
        tokenizer = optional("tokenizers").Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ArtefactError(f"{file}: cannot be read ({error}); {_FIX}") from error
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(prompts), add_special_tokens=False)]
    return sum(lengths) / max(1, len(lengths))

"""The default dataset: the sample shop, generated once into the user's cache directory."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from service.contracts.errors import ArtefactError
from workers.common.dataset import MANIFEST
from workers.evaluation.libraries import optional

SHOPPERS: Final = 20_000
DAYS: Final = 30
SEED: Final = 7
"""The seed of the logs that the shipped model was trained on: other shoppers of them are reported on."""


def sample_shop(shoppers: int = SHOPPERS) -> Path:
    """Return the directory of the sample shop's logs; generate them if this shop's are not there yet.

    Raises:
        ArtefactError: they could not be generated.
    """
    shop = _aigq("hash", capture=True).strip()
    cache: Path = optional("platformdirs").user_cache_path("aigq")
    path = cache / f"shop-{shop[:12]}-{shoppers}x{DAYS}-{SEED}"
    if not (path / MANIFEST).exists():
        cache.mkdir(parents=True, exist_ok=True)
        size = ("--shoppers", str(shoppers), "--days", str(DAYS), "--seed", str(SEED))
        _aigq("generate", *size, "--out", str(path))
    return path


def _aigq(*arguments: str, capture: bool = False) -> str:
    command = [sys.executable, "-m", "workers.cli", "shop", *arguments]
    done = subprocess.run(  # noqa: S603  (our own command; its output is not ours: the last line of stdout is)
        command, stdout=subprocess.PIPE if capture else sys.stderr, text=True, check=False
    )
    if done.returncode:
        raise ArtefactError(
            f"aigq shop {' '.join(arguments)}: ended with code {done.returncode}; "
            "name a dataset with --data, or make one with: aigq shop generate"
        )
    return done.stdout or ""

"""The sample shop's oracles, as `aigq shop report --json` found them: bounds to read the figures against.

They stand beside the table, not in it: the shop's report leaves bots out, and takes the first so many cases.
"""

from pathlib import Path
from typing import Any, Final

import orjson

from service.contracts.errors import ArtefactError

NAMES: Final = ("oracle_visible", "oracle")


def read(path: Path) -> dict[str, Any]:
    """Return the oracles' hit rates by view (all, novel, cold), with `cases`, of a file whose last line is the JSON.

    Raises:
        ArtefactError: the file is missing, or is not that.
    """
    try:
        found = orjson.loads(path.read_bytes().strip().splitlines()[-1])
        views = {
            "all": {"cases": found["oracle_cases"], "methods": found},
            "novel": found["novel"],
            "cold": found["cold"],
        }
        return {
            view: {"cases": one["cases"], **{name: one["methods"][name] for name in NAMES}}
            for view, one in views.items()
        }
    except (OSError, IndexError, KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise ArtefactError(
            f"{path}: is not the report of the oracles ({type(error).__name__}: {error}); "
            "make it with: aigq shop report DIR --json > FILE"
        ) from error

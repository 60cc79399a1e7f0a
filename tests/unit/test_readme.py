"""The README's map names every file that git tracks, and nothing else."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Told by their folder's line: many files of one kind.
FOLDERS = ("tests/", "workers/shop/data/departments/", "models/", "docs/images/", "docs/bench/")


def test_map_names_every_file() -> None:
    """A newcomer finds each file's purpose in one line."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S607
    files = {name for name in tracked if not name.startswith(FOLDERS) and not name.endswith("__init__.py")}
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Map")[1]
    named = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    assert files - named == set(), "not in the README's map"
    assert {name for name in named if not name.endswith("/")} - files == set(), "in the map, but not there"

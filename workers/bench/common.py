"""What the benchmarks share: a sample shop, spreads, and what they ran on."""

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from service.contracts.errors import ArtefactError
from service.contracts.keys import Keys
from service.contracts.settings import RedisSettings
from service.ranking.catalogue import Catalogue
from workers.common.processes import aigq

Figures = dict[str, float]
PARTITIONS: Final = RedisSettings().partitions
KEYS: Final = Keys(RedisSettings().namespace, PARTITIONS)
"""Those of a service that is told nothing else."""


def spread(values: Sequence[float]) -> Figures:
    """Return median, least and most of `values`."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def sample_artefacts(var: Path, tell: Callable[[str], None], shoppers: int = 500) -> Path:
    """Make a small sample shop (`var`/shop) and its artefact, once; return the artefact root."""
    if not (var / "shop" / "manifest.json").exists():
        tell("sample shop")
        _run("shop", "generate", "--shoppers", str(shoppers), "--days", "10", "--out", str(var / "shop"))
    try:
        Catalogue.open(var / "artefacts").close()
    except ArtefactError:  # none yet, or one of an earlier schema
        _run("artefacts", "build", "--data", str(var / "shop"), "--out", str(var / "artefacts"))
    return var / "artefacts"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _run(*arguments: str) -> None:
    subprocess.run(aigq(*arguments), check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def cpu_s(pid: int) -> float:
    """Return user and system time so far of a process, and of those that run in its session: workers that it forked.

    proc_pid_stat(5), fields 6, 14 and 15.

    Raises:
        ProcessLookupError: it has ended.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):  # another process, which ended meanwhile
            continue
        if pid in {int(fields[3]), int(stat.parent.name)}:
            found.append(int(fields[11]) + int(fields[12]))
    if not found:
        raise ProcessLookupError(f"process {pid} has ended")
    return sum(found) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process: proc_pid_statm(5), field 2."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

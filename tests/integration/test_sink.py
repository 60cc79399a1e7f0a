"""The sink on a real Redis: each line once, whatever is killed, and the importer takes what it wrote."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl
from redis import Redis

from service.contracts.events import EVENT
from service.contracts.keys import Keys
from service.contracts.redis import make_redis
from service.contracts.settings import Settings
from service.store import ShopperStore
from tests.integration.support import clean_environment
from workers.sink.drain import Sink
from workers.sink.parts import PartStore

ROOT = Path(__file__).parents[2]
Make = Callable[..., Settings]


def _events(count: int, start: int = 0) -> list[dict[str, object]]:
    return [
        {"type": "search", "user_id": f"u{n % 37}", "query": f"query {n}", "event_id": f"e{n}"}
        for n in range(start, start + count)
    ]


def _post(settings: Settings, events: list[dict[str, object]]) -> None:
    async def post() -> None:
        redis = make_redis(settings.redis, 5000)
        keys = Keys(settings.redis.namespace, settings.redis.partitions)
        store = ShopperStore(redis, keys, settings)
        for begin in range(0, len(events), 500):
            await store.record([EVENT.validate_python(one) for one in events[begin : begin + 500]])
        await redis.aclose()

    asyncio.run(post())


def _start(settings: Settings, out: Path, *arguments: str, **sink: object) -> subprocess.Popen[str]:
    environment = clean_environment() | {
        "AIGQ_REDIS_URL": settings.redis.url.get_secret_value(),
        "AIGQ_REDIS_NAMESPACE": settings.redis.namespace,
        "AIGQ_REDIS_PARTITIONS": str(settings.redis.partitions),
        "AIGQ_SINK_POLL_S": "0.05",
        **{f"AIGQ_SINK_{name.upper()}": str(value) for name, value in sink.items()},
    }
    command = [sys.executable, "-m", "workers.cli", "sink", "--out", str(out), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _once(settings: Settings, out: Path, **sink: object) -> dict[str, object]:
    process = _start(settings, out, "--once", "--json", **sink)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    found: dict[str, object] = json.loads(stdout.splitlines()[-1])
    return found


def _written(out: Path) -> list[str]:
    parts = sorted(out.glob("dt=*/part-*.parquet"))
    return pl.concat([pl.read_parquet(path) for path in parts])["event_id"].to_list() if parts else []


def _streams(settings: Settings, redis: "Redis[bytes]") -> int:
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    return sum(redis.xlen(keys.events(partition)) for partition in range(settings.redis.partitions))


def test_each_line_once(make_settings: Make, redis: "Redis[bytes]", tmp_path: Path) -> None:
    """In parts of the size asked for; a line sent twice counts once; streams are trimmed; a second run adds nothing."""
    settings = make_settings()
    _post(settings, [*_events(900), *_events(100)])
    assert _once(settings, tmp_path, part_rows=200)["types"] == {"search": 900}
    assert sorted(_written(tmp_path)) == sorted(f"e{n}" for n in range(900))
    assert len(list(tmp_path.glob("dt=*/part-*.parquet"))) >= 4
    assert _streams(settings, redis) <= settings.redis.partitions, "of each stream, at most the last entry stays"
    _post(settings, [*_events(50), *_events(50, 900)])
    assert _once(settings, tmp_path)["rows"] == 50, "what was sent again is known from the parts"
    assert len(_written(tmp_path)) == 950


def test_nothing_lost_or_doubled_by_kills(make_settings: Make, tmp_path: Path) -> None:
    """SIGKILL at six random moments while events keep coming, then drained."""
    settings = make_settings()
    chance = random.Random(7)
    for turn in range(6):
        _post(settings, _events(400, 400 * turn))
        process = _start(settings, tmp_path, part_rows=50, flush_s=0.2, lease_s=0.3)
        deadline = time.monotonic() + 30
        before = len(_written(tmp_path))
        while len(_written(tmp_path)) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.15))  # the moment is what is tested
        process.kill()
        process.communicate()
    _wait_for_lease(settings)
    _once(settings, tmp_path)
    assert sorted(_written(tmp_path)) == sorted(f"e{n}" for n in range(2400))


def _wait_for_lease(settings: Settings) -> None:
    key = Keys(settings.redis.namespace, settings.redis.partitions).sink_lease()
    with Redis.from_url(settings.redis.url.get_secret_value()) as client:
        while client.exists(key):
            time.sleep(0.02)


def test_delivered_but_not_confirmed_comes_again(make_settings: Make, redis: "Redis[bytes]", tmp_path: Path) -> None:
    """More than one read takes, after a kill before anything was written: all of it is there, none trimmed away."""
    settings = make_settings()
    _post(settings, _events(600))
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    for partition in range(settings.redis.partitions):
        redis.xgroup_create(keys.events(partition), "sink", id="0")
        redis.xreadgroup("sink", "sink", {keys.events(partition): ">"}, count=10_000)
    assert _once(settings, tmp_path, part_rows=40)["rows"] == 600
    assert sorted(_written(tmp_path)) == sorted(f"e{n}" for n in range(600))


async def test_what_was_read_is_written_though_redis_went_away(make_settings: Make, tmp_path: Path) -> None:
    """Opened again, lines that waited for their part come again: they are no duplicates of themselves."""
    settings = make_settings()
    await asyncio.to_thread(_post, settings, _events(10))
    redis = make_redis(settings.redis, 5000)
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    sink = Sink(redis, keys, PartStore(tmp_path), settings.sink)
    await sink.open()
    assert await sink.step() == 10
    await sink.open()  # what `aigq sink` does when Redis answers again
    await sink.flush()
    await sink.close()
    await redis.aclose()
    assert sorted(_written(tmp_path)) == sorted(f"e{n}" for n in range(10))


def test_another_group_keeps_what_it_needs(make_settings: Make, redis: "Redis[bytes]", tmp_path: Path) -> None:
    """A team may read the streams too: nothing that its group has not read is trimmed."""
    settings = make_settings()
    _post(settings, _events(100))
    keys = Keys(settings.redis.namespace, settings.redis.partitions)
    for partition in range(settings.redis.partitions):
        redis.xgroup_create(keys.events(partition), "theirs", id="0")
    _once(settings, tmp_path)
    assert _streams(settings, redis) == 100


def test_a_second_sink_is_refused(make_settings: Make, tmp_path: Path) -> None:
    """Two could not agree on offsets. After a graceful stop the next one starts at once."""
    settings = make_settings()
    _post(settings, _events(10))
    first = _start(settings, tmp_path, flush_s=0.1)
    deadline = time.monotonic() + 30
    while not _written(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    second = _start(settings, tmp_path / "other", "--once")
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another sink drains" in stderr
    assert "Traceback" not in stderr
    _post(settings, _events(5, 10))
    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    first.communicate(timeout=30)
    assert first.returncode == 0
    assert time.monotonic() - began < 5
    _once(settings, tmp_path)
    assert len(_written(tmp_path)) == 15


def test_what_cannot_be_read_is_put_aside(make_settings: Make, redis: "Redis[bytes]", tmp_path: Path) -> None:
    """With its reason; the lines around it are written."""
    settings = make_settings()
    stream = Keys(settings.redis.namespace, settings.redis.partitions).events(1)
    line = {"user_id": "u", "ts": 1.0, "type": "search", "query": "tent", "event_id": "a"}
    redis.xadd(stream, {"e": orjson.dumps(line)})
    redis.xadd(stream, {"e": b"{half"})
    redis.xadd(stream, {"x": b"1"})
    redis.xadd(stream, {"e": orjson.dumps({**line, "ts": "soon"})})
    redis.xadd(stream, {"e": orjson.dumps({**line, "event_id": "b"})})
    assert _once(settings, tmp_path)["rows"] == 2
    reasons = [json.loads(one)["reason"] for one in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert reasons == ["not_json", "no_content", "field_type"]


def test_a_directory_that_cannot_be_written(make_settings: Make, tmp_path: Path) -> None:
    """One line that names it."""
    (tmp_path / "file").write_text("")
    process = _start(make_settings(), tmp_path / "file" / "logs", "--once")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written" in stderr
    assert "Traceback" not in stderr


def test_the_importer_takes_what_was_written(make_settings: Make, tmp_path: Path) -> None:
    """Unchanged: every line is counted, none is rejected."""
    settings = make_settings()
    # Three shoppers a query: rarer ones are not imported (k-anonymity).
    now = time.time()
    events: list[dict[str, object]] = []
    for n in range(60):
        ids = {"user_id": f"u{n}", "ts": now - 3600 + n, "event_id": f"e{n}"}
        events += [
            {"type": "search", "query": f"query {n % 5}", **ids},
            {**ids, "type": "click", "item_id": "i1", "event_id": f"c{n}", "price": 9.5},
            {
                **ids,
                "type": "hint_exposure",
                "query": "tent",
                "request_id": f"r{n}",
                "position": 1,
                "event_id": f"x{n}",
            },
        ]
    _post(settings, events)
    _once(settings, tmp_path / "logs")
    (tmp_path / "items.csv").write_text("item_id,title,category\ni1,Tent,Outdoors > Tents\n")
    parts = [str(path) for path in (tmp_path / "logs").glob("dt=*/*.parquet")]
    arguments = ["import", *parts, "--items", str(tmp_path / "items.csv"), "--out", str(tmp_path / "data"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments], cwd=ROOT, env=clean_environment(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "data" / "events" / "*.parquet").height == 180
    assert not (tmp_path / "data-rejects.jsonl").exists()

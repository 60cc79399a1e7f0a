"""The sink when something breaks: Redis goes and comes, the disk is full, a shopper changes their mind."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import polars as pl
import pytest
from redis.asyncio import Redis

from service.contracts.errors import StoreUnavailable
from service.contracts.events import EVENT
from service.contracts.keys import Keys
from service.contracts.redis import make_redis
from service.contracts.settings import Settings
from service.pipelined import PipelinedRedis
from service.served_log import ServedLog
from service.store import ShopperStore, profile_of
from tests.integration import support
from workers.sink.drain import Sink
from workers.sink.parts import PartStore
from workers.sink.quality import Quality
from workers.sink.streams import Streams

ROOT = Path(__file__).parents[2]
Make = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    """Return settings in a namespace of the test's own."""
    return make_settings()


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Redis]:
    """Return a client of the test's Redis."""
    found = make_redis(settings.redis, 5000)
    yield found
    await found.aclose()


def _keys(settings: Settings) -> Keys:
    return Keys(settings.redis.namespace, settings.redis.partitions)


def _sink(redis: Redis, settings: Settings, parts: PartStore) -> Sink:
    keys = _keys(settings)
    return Sink(
        Streams(redis, keys, settings.sink.lease_s), parts, keys.partitions, settings.sink, Quality(lambda _: None)
    )


async def _search(redis: Redis, settings: Settings, first: int, count: int) -> None:
    store = ShopperStore(redis, _keys(settings), settings)
    events = [
        {"type": "search", "user_id": f"u{n % 7}", "query": "tent", "event_id": f"e{n}"}
        for n in range(first, first + count)
    ]
    await store.record([EVENT.validate_python(event) for event in events])


def _written(out: Path) -> list[str]:
    frames = [pl.read_parquet(path) for path in sorted(out.glob("dt=*/part-*.parquet"))]
    return sorted(pl.concat(frames)["event_id"].to_list()) if frames else []


def _ids(count: int) -> list[str]:
    return sorted(f"e{n}" for n in range(count))


async def _read(sink: Sink) -> None:
    while await sink.step():
        pass


async def _drain(sink: Sink) -> None:
    await _read(sink)
    await sink.flush()


async def test_what_was_read_before_an_outage_is_written_after_it(
    client: Redis, settings: Settings, tmp_path: Path
) -> None:
    """Once: neither taken for a duplicate of itself nor read a second time."""
    await _search(client, settings, 0, 50)
    with PartStore(tmp_path) as parts:
        sink = _sink(client, settings, parts)
        await sink.open()
        await _read(sink)
        await sink.open()  # as after `StoreUnavailable`
        await _drain(sink)
    assert _written(tmp_path) == _ids(50)


async def test_a_delivery_that_did_not_arrive_is_read_before_anything_new(
    client: Redis, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis delivered, the connection broke: later offsets must not pass for these entries."""
    await _search(client, settings, 0, 50)
    with PartStore(tmp_path) as parts:
        sink = _sink(client, settings, parts)
        await sink.open()
        await _read(sink)
        await _search(client, settings, 50, 50)
        execute = Streams._execute

        async def swallow(*arguments: object, **options: object) -> list[object]:
            await execute(*arguments, **options)  # type: ignore[arg-type]
            raise StoreUnavailable("the answer was lost")

        with monkeypatch.context() as broken:
            broken.setattr(Streams, "_execute", staticmethod(swallow))
            with pytest.raises(StoreUnavailable):
                await sink.step()
        await _search(client, settings, 100, 50)
        await sink.open()
        await _drain(sink)
    assert _written(tmp_path) == _ids(150)


async def test_a_confirmation_that_failed_is_made_up_for(
    client: Redis, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is there and stays one; the streams are trimmed in the end."""
    await _search(client, settings, 0, 20)
    with PartStore(tmp_path) as parts:
        sink = _sink(client, settings, parts)
        await sink.open()
        await _read(sink)

        async def away(*_: object) -> None:
            raise StoreUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(Streams, "confirm", away)
            with pytest.raises(StoreUnavailable):
                await sink.flush()
        await sink.open()
        await _drain(sink)
    assert _written(tmp_path) == _ids(20)
    assert sum([await client.xlen(_keys(settings).events(p)) for p in range(settings.redis.partitions)]) == 0


async def test_redis_that_lost_everything_is_drained_from_its_beginning(
    client: Redis, settings: Settings, tmp_path: Path
) -> None:
    """Offsets of the streams that are gone say nothing about the new ones, even with its clock behind."""
    line = {"user_id": "u", "ts": 1.0, "type": "search", "query": "tent"}
    stream = _keys(settings).events(0)
    with PartStore(tmp_path) as parts:
        sink = _sink(client, settings, parts)
        await client.xadd(stream, {"e": orjson.dumps({**line, "event_id": "e0"})}, id="9999-0")
        await sink.open()
        await _drain(sink)
        await client.delete(*(_keys(settings).events(p) for p in range(settings.redis.partitions)))
        await client.xadd(stream, {"e": orjson.dumps({**line, "event_id": "e1"})}, id="5-0")
        with pytest.raises(StoreUnavailable):
            await sink.step()
        await sink.open()
        await _drain(sink)
    assert _written(tmp_path) == _ids(2)


async def test_who_refuses_while_lines_wait_is_left_out(client: Redis, settings: Settings, tmp_path: Path) -> None:
    """What must not be kept is not logged; others' lines are."""
    store = ShopperStore(client, _keys(settings), settings)
    await _search(client, settings, 0, 7)
    await store.put_profile("u3", profile_of({}, consent=False))
    with PartStore(tmp_path) as parts:
        sink = _sink(client, settings, parts)
        await sink.open()
        await _drain(sink)
    assert _written(tmp_path) == [f"e{n}" for n in range(7) if n != 3]
    assert sink.left_out == {"refused": 1}


async def test_lines_cut_off_unread_are_counted(client: Redis, settings: Settings) -> None:
    """`redis.stream_maxlen` protects Redis from a sink that is away; that lines were lost is said."""
    stream = _keys(settings).events(0)
    streams = Streams(client, _keys(settings), 30.0)
    for _ in range(10):
        await client.xadd(stream, {"e": b"{}"})
    assert (await streams.open())[1] == 0
    await streams.read(1)  # nothing was delivered before
    await streams.read(1)
    await client.xtrim(stream, maxlen=4, approximate=False)
    assert (await streams.open())[1] == 5


def _aigq(settings: Settings, *arguments: str, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = support.clean_environment() | {
        "AIGQ_REDIS_URL": settings.redis.url.get_secret_value(),
        "AIGQ_REDIS_NAMESPACE": settings.redis.namespace,
        "AIGQ_REDIS_PARTITIONS": str(settings.redis.partitions),
    }
    command = [*wrapper, sys.executable, "-m", "workers.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


async def test_a_full_disk(client: Redis, settings: Settings, tmp_path: Path) -> None:
    """A clear message, nothing confirmed; with room again, all is there. A file-size limit stands for the disk."""
    await _search(client, settings, 0, 200)
    limit = ("bash", "-c", 'ulimit -f 1; exec "$@"', "limit")
    done = _aigq(settings, "sink", "--out", str(tmp_path), "--once", wrapper=limit)
    assert done.returncode == 1
    assert "cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert _written(tmp_path) == []
    assert sum([await client.xlen(_keys(settings).events(p)) for p in range(settings.redis.partitions)]) == 200
    done = _aigq(settings, "sink", "--out", str(tmp_path), "--once")
    assert done.returncode == 0, done.stderr
    assert _written(tmp_path) == _ids(200)


def test_no_redis(settings: Settings, tmp_path: Path) -> None:
    """Once means once: an error in one line, for cron to tell."""
    away = settings.model_copy(
        update={"redis": settings.redis.model_copy(update={"url": type(settings.redis.url)("redis://127.0.0.1:1/0")})}
    )
    done = _aigq(away, "sink", "--out", str(tmp_path), "--once")
    assert done.returncode == 1
    assert "Redis does not answer" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_importer_takes_what_was_written(client: Redis, settings: Settings, tmp_path: Path) -> None:
    """Unchanged, behaviour and served lists: every line is counted, none is rejected."""
    now = time.time()
    store = ShopperStore(client, _keys(settings), settings)
    pipelined = PipelinedRedis(settings.redis, 5000)
    served = ServedLog(pipelined, _keys(settings), 10_000)
    for n in range(60):
        ids = {"user_id": f"u{n}", "ts": now - 3600 + n}
        events = [
            {**ids, "type": "search", "query": f"query {n % 5}"},
            {**ids, "type": "click", "item_id": "i1", "price": 9.5},
            {**ids, "type": "hint_exposure", "query": "tent", "request_id": f"r{n}", "position": 1},
        ]
        await store.record([EVENT.validate_python(event) for event in events])
        lists = {"queries": ["lamp", "tent"], "sources": ["u2q", "popular"], "scores": [1, 0.5], "propensity": [1, 1]}
        line = {"event_id": f"r{n}", "type": "hint_served", "request_id": f"r{n}", "arm": "a", "policy": "p"}
        served.append({**line, **ids, **lists})
    await served.flush()
    await pipelined.aclose()
    out = tmp_path / "logs"
    done = _aigq(settings, "sink", "--out", str(out), "--once", "--json")
    types = {"search": 60, "click": 60, "hint_exposure": 60, "hint_served": 60}
    summary = orjson.loads(done.stdout.splitlines()[-1])
    assert summary["types"] == types
    assert (summary["rows"], summary["duplicates"], summary["refused"], summary["rejected"]) == (240, 0, 0, 0)
    (tmp_path / "items.csv").write_text("item_id,title,category\ni1,Tent,Outdoors > Tents\n")
    logs = [str(path) for path in out.glob("dt=*/*.parquet")]
    done = _aigq(
        settings, "import", *logs, "--items", str(tmp_path / "items.csv"), "--out", str(tmp_path / "d"), "--json"
    )
    assert done.returncode == 0, done.stderr
    counts = orjson.loads(done.stdout.splitlines()[-1])["tables"]["events"]
    assert (counts["lines"], counts["accepted"]) == (240, 240)
    assert pl.read_parquet(tmp_path / "d" / "events" / "*.parquet").height == 240

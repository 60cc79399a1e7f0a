"""What the service is also measured against: Feast's feature server, which gets a shopper's list from Redis.

Run by an interpreter that has Feast (`pip install 'feast[redis]'`), so it imports nothing of ours:
`PYTHON feast_server.py FOLDER SHOPPERS`, with AIGQ_REDIS_URL and BENCH_PORT set. One worker, its recycling off.
https://docs.feast.dev/reference/feature-servers/python-feature-server
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

_STORE = """
project: bench
provider: local
registry: {folder}/registry.db
online_store: {{type: redis, connection_string: "127.0.0.1:{redis_port}"}}
entity_key_serialization_version: 3
"""
_LIST = '["' + '", "'.join(f"some query number {number}" for number in range(10)) + '"]'
_BATCH = 10_000


def main(folder: Path, redis_port: int, port: int, shoppers: int) -> None:
    """Write a list for each shopper, then become the feature server."""
    import pandas as pd  # noqa: PLC0415  (of the other interpreter)
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource  # noqa: PLC0415
    from feast.types import String  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(_STORE.format(folder=folder, redis_port=redis_port))

    def rows(start: int) -> "pd.DataFrame":
        users = [f"bench-{number}" for number in range(start, min(start + _BATCH, shoppers))]
        return pd.DataFrame({"user_id": users, "hints": _LIST, "event_timestamp": datetime.now(UTC)})

    rows(0).to_parquet(folder / "u2q.parquet")  # what the view is inferred from
    user = Entity(name="user", join_keys=["user_id"])
    view = FeatureView(
        name="u2q",
        entities=[user],
        ttl=timedelta(days=7),
        schema=[Field(name="hints", dtype=String)],
        source=FileSource(path=str(folder / "u2q.parquet"), timestamp_field="event_timestamp"),
    )
    store = FeatureStore(repo_path=str(folder))
    store.apply([user, view])
    for start in range(0, shoppers, _BATCH):
        store.write_to_online_store("u2q", rows(start))
        print(f"{min(start + _BATCH, shoppers):,} of {shoppers:,} shoppers written", flush=True)  # noqa: T201  (the log of a process)
    feast = str(Path(sys.executable).with_name("feast"))
    command = [feast, "-c", str(folder), "serve", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(feast, [*command, "--workers", "1", "--max-requests", "0", "--no-access-log"])  # noqa: S606


if __name__ == "__main__":
    redis = urlsplit(os.environ["AIGQ_REDIS_URL"]).port
    main(Path(sys.argv[1]).resolve(), redis or 6379, int(os.environ["BENCH_PORT"]), int(sys.argv[2]))

"""What the load tests promise: they hit this machine only, and send what the service takes.

Locust patches the standard library when imported, so it runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.contracts.events import EVENT
from service.contracts.hints import InlineHintsRequest

LOADTESTS = Path(__file__).parents[2] / "loadtests"

PROBE = """
import json, sys
import locustfile, scenarios
from locust.env import Environment

verdicts = {}
for host in json.loads(sys.argv[1]):
    try:
        scenarios.check_host(Environment(host=host))
        verdicts[host] = "allowed"
    except SystemExit as error:
        verdicts[host] = str(error)


class Client:
    '''Answers like the service and keeps what it was sent.'''

    def __init__(self):
        self.gets, self.posts = [], []

    def get(self, path, params, name, catch_response):
        self.gets.append([path, params])
        return Response()

    def post(self, path, json, name):
        self.posts.append([path, json])


class Response:
    status_code = 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def json(self):
        return {"request_id": "r1", "hints": [{"query": "tent"}, {"query": "sleeping bag"}]}


scenarios.learn({})
made_up = len(scenarios.shop.shoppers)
scenarios.learn({"shoppers": [{"user_id": "s1"}], "items": [{"item_id": "i1"}, {"item_id": "i2"}]})
client = Client()
for visitor in (locustfile.HomepageVisitor, locustfile.AnonymousVisitor):
    visitor.host = "http://127.0.0.1:1"
    user = visitor(Environment())
    user.client = client
    for _ in range(60):
        user.visit()
print(json.dumps({"verdicts": verdicts, "made_up": made_up, "gets": client.gets, "posts": client.posts}))
"""
HOSTS = [
    "http://127.0.0.1:8000",
    "http://localhost:8000",
    "http://[::1]:8000",
    "http://10.1.2.3",
    "https://shop.example",
]


def probe(**environment: str) -> dict[str, Any]:
    """Run the scenarios once against a stand-in for the service."""
    env = {name: value for name, value in os.environ.items() if name != "LOADTEST_ALLOW_REMOTE"} | environment
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(HOSTS)],
        cwd=LOADTESTS, env={**env, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def played() -> dict[str, Any]:
    """What was seen of the scenarios, without any permission."""
    return probe()


def test_only_this_machine_is_loaded(played: dict[str, Any]) -> None:
    """A typo in the host must not become an attack."""
    allowed = [host for host, verdict in played["verdicts"].items() if verdict == "allowed"]
    assert allowed == HOSTS[:3]
    assert "LOADTEST_ALLOW_REMOTE=1" in played["verdicts"]["http://10.1.2.3"]


def test_a_remote_host_needs_a_word() -> None:
    """LOADTEST_ALLOW_REMOTE=1 lets any host pass."""
    assert set(probe(LOADTEST_ALLOW_REMOTE="1")["verdicts"].values()) == {"allowed"}


def test_what_is_posted_is_valid(played: dict[str, Any]) -> None:
    """Every event and inline request is one that the contract accepts, and every kind occurs."""
    kinds = set()
    for path, body in played["posts"]:
        if path == "/v1/events":
            kinds |= {EVENT.validate_python(event).type for event in body}
        else:
            assert path == "/v1/hints"
            assert InlineHintsRequest.model_validate(body).actions
    assert kinds == {"hint_exposure", "hint_click", "click"}


def test_reads_outnumber_actions(played: dict[str, Any]) -> None:
    """Each visit reads hints; few visits act on what they saw."""
    actions = [event for path, body in played["posts"] if path == "/v1/events" for event in body]
    clicks = [event for event in actions if event["type"] != "hint_exposure"]
    assert len(played["gets"]) >= 60 > len(clicks) > 0
    assert all(params["user_id"] == "s1" for _, params in played["gets"])


def test_a_shop_without_sample_gets_made_up_shoppers(played: dict[str, Any]) -> None:
    """A real shop's artefact has no sample; the load then spreads over made-up shoppers."""
    assert played["made_up"] == 10_000

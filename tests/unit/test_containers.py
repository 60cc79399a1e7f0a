"""What the container files promise. No engine runs here: they are parsed, and held against the code that they start."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pydantic import BaseModel

from service.contracts.settings import Settings
from workers.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TARGETS = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", DOCKERFILE, re.MULTILINE)
OWN = sorted(name for name, one in SERVICES.items() if "build" in one)
# What the official images start: https://hub.docker.com/r/valkey/valkey (runs its arguments as the command),
# https://hub.docker.com/r/locustio/locust (entrypoint `locust`). vLLM's is set in the compose file.
# https://hub.docker.com/r/prom/prometheus (entrypoint `prometheus`), https://hub.docker.com/r/grafana/grafana (none).
FOREIGN = {
    "valkey/valkey": ["valkey-server"],
    "locustio/locust": ["-f"],
    "prom/prometheus": ["--config.file=/etc/prometheus/prometheus.yml"],
    "grafana/grafana": [],
}


def sections() -> dict[str, type[BaseModel]]:
    """Return the model of each settings section."""
    return {name: cast("type[BaseModel]", field.annotation) for name, field in Settings.model_fields.items()}


@pytest.mark.parametrize("name", OWN)
def test_own_images_run_aigq(name: str) -> None:
    """Each service of ours builds a stage that exists and gives `aigq` a command that exists."""
    assert SERVICES[name]["build"]["target"] in TARGETS
    assert SERVICES[name]["command"][0] in COMMANDS


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OWN)))
def test_foreign_images_start_as_documented(name: str) -> None:
    """Every other image is pinned, and started the way its page says."""
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")
    assert tag not in {"", "latest"}
    if image.startswith("vllm/"):
        assert service["entrypoint"] == ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    else:
        assert service["command"][:1] == FOREIGN[image]


def test_the_parts_that_make_the_whole_are_there() -> None:
    """Store, model, artefacts, service, workers, sink, the load test and what watches it all."""
    assert set(SERVICES) == {
        "valkey", "vllm-cpu", "vllm-gpu", "artefacts", "service", "direct", "sink", "lessons", "think",
        "locust", "prometheus", "grafana",
    }  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_environment_names_settings(name: str) -> None:
    """Each AIGQ_ variable is a setting: the service refuses others at start."""
    for variable in SERVICES[name].get("environment", {}):
        _, section, key = variable.lower().split("_", 2)
        assert key in sections()[section].model_fields


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_vllm_serves_the_model_that_the_workers_ask_for(profile: str) -> None:
    """Name, port and network alias agree on both sides."""
    vllm, direct = SERVICES[f"vllm-{profile}"], SERVICES["direct"]["environment"]
    arguments = vllm["command"]
    assert vllm["profiles"] == [profile]
    assert arguments[arguments.index("--served-model-name") + 1] == direct["AIGQ_VLLM_MODEL"]
    port = arguments[arguments.index("--port") + 1]
    assert direct["AIGQ_VLLM_URL"] == f"http://{vllm['networks']['default']['aliases'][0]}:{port}"


def test_dependencies_exist_and_are_checked() -> None:
    """Every dependency is a service; one awaited as healthy has a health check, its own or its image's."""
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in SERVICES
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name] or SERVICES[name]["build"]["target"] == "service"
            if set(SERVICES[name].get("profiles", ())) - set(service.get("profiles", ())):
                assert condition["required"] is False


def test_prometheus_scrapes_what_runs() -> None:
    """Each target is a service, at the port where it tells its metrics."""
    config = yaml.safe_load((ROOT / "configs/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    targets = {one["job_name"]: one["static_configs"][0]["targets"][0] for one in config["scrape_configs"]}
    assert targets == {
        "service": f"service:{SERVICES['service']['ports'][0].rsplit(':', 1)[1]}",
        "direct": f"direct:{SERVICES['direct']['environment']['AIGQ_DIRECT_METRICS_PORT']}",
        "sink": f"sink:{SERVICES['sink']['environment']['AIGQ_SINK_METRICS_PORT']}",
        "vllm": SERVICES["direct"]["environment"]["AIGQ_VLLM_URL"].removeprefix("http://"),
    }


def test_secrets_come_from_files() -> None:
    """No password in the file, nor in an environment."""
    known = {f"/run/secrets/{name}" for name in COMPOSE["secrets"]}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", name):
                assert value in known


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_limited(name: str) -> None:
    """A leak or a busy loop ends one container, not the machine."""
    assert SERVICES[name]["mem_limit"]
    assert SERVICES[name]["cpus"]


@pytest.mark.parametrize("name", OWN)
def test_what_a_process_reads_is_mounted(name: str) -> None:
    """Each path of its command and environment, and the artefact, which all read but what distils the logs."""
    mounts = [one["target"] if isinstance(one, dict) else one.split(":")[1] for one in SERVICES[name]["volumes"]]
    told = [*SERVICES[name]["command"], *map(str, SERVICES[name].get("environment", {}).values())]
    artefacts = ["/app/var/artefacts"] * (name != "lessons")
    for path in [*artefacts, *(one for one in told if one.startswith("/"))]:
        assert any(path.startswith(mount) for mount in mounts), path


def test_the_compose_file_is_one() -> None:
    """By Compose's own schema: https://github.com/compose-spec/compose-spec."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_follows_the_rules() -> None:
    """By hadolint: https://github.com/hadolint/hadolint/wiki."""
    hadolint = str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_valkey_may_evict_only_what_expires() -> None:
    """Queues and event streams have no TTL, so `volatile-lfu` leaves them alone; the log survives a restart."""
    command = SERVICES["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "volatile-lfu"
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory"]


def test_ports_are_published_on_loopback_only() -> None:
    """Nothing here asks for a password, so nothing is published to the network."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_dockerfile_targets() -> None:
    """Both images exist, run as an unprivileged user, and install pinned versions."""
    assert {"service", "worker"} <= set(TARGETS)
    stages = dict(zip(TARGETS, re.split(r"^FROM .*$", DOCKERFILE, flags=re.MULTILINE)[1:], strict=True))
    for target in ("service", "worker"):
        assert "USER 10001" in stages[target]
    assert "/healthz" in stages["service"]
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert installs
    assert all("-c constraints.txt" in install or "--no-deps" in install for install in installs)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim", DOCKERFILE, re.MULTILINE)


def test_copied_files_reach_the_build() -> None:
    """`.dockerignore` shuts everything out but what the Dockerfile copies, and each of these exists."""
    copied = {
        path for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE) for path in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / path).exists() for path in copied)


def test_default_config_shows_every_setting_with_its_default() -> None:
    """`configs/default.toml` changes nothing and leaves nothing out."""
    text = (ROOT / "configs" / "default.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    assert Settings(**data) == Settings.model_construct()
    for section, model in sections().items():
        for key, field in model.model_fields.items():
            assert key in data[section] or (field.default is None and f"# {key} = " in text), f"{section}.{key}"

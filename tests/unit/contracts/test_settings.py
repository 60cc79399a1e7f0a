"""Settings: files and environment, each mistake named, no secret ever shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service.contracts.errors import ConfigError
from service.contracts.settings import CONFIG_VARIABLE, load_settings

ROOT = Path(__file__).parents[3]
SECRET = "hunter2"  # noqa: S105  (the point is to look for it)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_file_parses() -> None:
    """`configs/*.toml` are settings of today's schema."""
    for path in sorted((ROOT / "configs").glob("*.toml")):
        load_settings(path)


def test_defaults_need_no_file() -> None:
    """A newcomer starts without writing anything."""
    settings = load_settings()
    assert settings.redis.namespace == "aigq"
    assert settings.service.budget_ms == 50


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AIGQ_CONFIG` is used unless a path is given."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(_file(tmp_path, "[queue]\ndelay_s = 7\n")))
    assert load_settings().queue.delay_s == 7


def test_environment_overrides_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what the environment does not name stays as the file says."""
    path = _file(tmp_path, '[redis]\nnamespace = "file"\npartitions = 8\n[service]\nport = 1\n')
    monkeypatch.setenv("AIGQ_REDIS_NAMESPACE", "env")
    monkeypatch.setenv("AIGQ_REDIS_READ_TIMEOUT_MS", "77")
    settings = load_settings(path)
    assert (settings.redis.namespace, settings.redis.partitions, settings.service.port) == ("env", 8, 1)
    assert settings.redis.read_timeout_ms == 77


def test_redis_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that every deployment sets."""
    monkeypatch.setenv("AIGQ_REDIS_URL", "redis://cache:6380/1")
    assert load_settings().redis.url.get_secret_value() == "redis://cache:6380/1"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[redis]\nnamespce = 'x'\n", "redis.namespce"),
        ("[reddis]\nurl = 'x'\n", "reddis"),
        ("port = 1\n", "port"),
        ("[redis]\npartitions = 0\n", "redis.partitions"),
        ("[redis]\nnamespace = 'A{b}'\n", "redis.namespace"),
        ("[service]\nbudget_ms = 'soon'\n", "service.budget_ms"),
        ("[vllm]\nurl = 'ftp://x'\n", "vllm.url"),
        ("redis = 3\n", "redis"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, key: str) -> None:
    """The message has the file and the key."""
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert f"{path}: {key}: " in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIGQ_REDDIS_URL", "x"),
        ("AIGQ_REDIS", "x"),
        ("AIGQ_PORT", "1"),
        ("AIGQ_REDIS_NAMESPCE", "x"),
        ("AIGQ_REDIS_PARTITIONS", "many"),
        ("AIGQ_SERVICE_BUDGET_MS", "0"),
    ],
)
def test_mistakes_in_the_environment_are_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A misspelt variable stops the process instead of being ignored."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"environment variable {variable}[ :]"):
        load_settings()


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is not JSON is a mistake like any other."""
    monkeypatch.setenv("AIGQ_SERVICE_CORS_ORIGINS", '["https://shop.example"]')
    assert load_settings().service.cors_origins == ("https://shop.example",)
    monkeypatch.setenv("AIGQ_SERVICE_CORS_ORIGINS", "https://shop.example")
    with pytest.raises(ConfigError, match="JSON"):
        load_settings()


@pytest.mark.parametrize("content", [b"[redis\n", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    """Named, with where it stops making sense."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml: is not TOML"):
        load_settings(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, and never taken for the defaults."""
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_settings(tmp_path / "absent.toml")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither printing the settings nor dumping them tells a password."""
    monkeypatch.setenv("AIGQ_REDIS_URL", f"redis://:{SECRET}@cache/0")
    monkeypatch.setenv("AIGQ_VLLM_API_KEY", SECRET)
    settings = load_settings()
    assert isinstance(settings.vllm.api_key, SecretStr)
    assert settings.vllm.api_key.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIGQ_REDIS_URI", f"redis://:{SECRET}@cache/0"),
        ("AIGQ_VLLM_APIKEY", SECRET),
        ("AIGQ_REDIS_PARTITIONS", SECRET),
        ("AIGQ_SERVICE_CORS_ORIGINS", SECRET),
    ],
)
def test_secrets_are_not_in_errors(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A secret under a misspelt name is not repeated into a log."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_a_wrong_secret_in_a_file_is_not_repeated(tmp_path: Path) -> None:
    """The type of what was given is enough to find the mistake."""
    with pytest.raises(ConfigError, match="list") as caught:
        load_settings(_file(tmp_path, f"[vllm]\napi_key = ['{SECRET}']\n"))
    assert SECRET not in str(caught.value)


def test_sections_cannot_be_changed() -> None:
    """Settings are read once."""
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.redis.partitions = 3  # type: ignore[misc]

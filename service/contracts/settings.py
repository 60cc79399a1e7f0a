"""Settings of every process: one TOML file, overridden by `AIGQ_<SECTION>_<KEY>` environment variables.

`AIGQ_CONFIG` names the file (default: none, the defaults below). Unknown keys are refused in both.
https://docs.pydantic.dev/latest/concepts/pydantic_settings/
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from service.contracts.errors import ConfigError
from service.contracts.hints import Source

ENV_PREFIX = "AIGQ_"
CONFIG_VARIABLE = "AIGQ_CONFIG"

SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_SHARE_ERROR: Final = 1e-6
CTR_WEIGHT: Final = 0.5
"""Of clicks beside searches, in the order of ranked lists: chosen on validation shoppers (docs/experiments.md)."""

Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisSettings(_Section):
    """The Redis (>= 7.0) or Valkey (>= 8) server."""

    url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="redis://, rediss:// or unix:// URL")
    cluster: bool = Field(default=False, description="the URL is any node of a Redis Cluster, which tells the others")
    namespace: str = Field("aigq", pattern=r"^[a-z0-9_-]{1,32}$", description="prefix of every key")
    partitions: int = Field(256, ge=1, le=16384, description="P; stored in Redis and checked, never change it live")
    read_timeout_ms: Milliseconds = Field(30, description="socket timeout on the hints path")
    write_timeout_ms: Milliseconds = Field(2000, description="socket timeout for events and workers")
    connect_timeout_ms: Milliseconds = Field(100, description="TCP and TLS connect")
    max_connections: int = Field(32, ge=1, le=4096, description="pool size of each client")
    stream_maxlen: int = Field(1_000_000, ge=1000, description="events kept a partition until a sink drains them")


class BehaviourSettings(_Section):
    """What is kept of a shopper."""

    max_events: int = Field(50, ge=1, le=1000, description="recent events kept")
    max_exposures: int = Field(100, ge=1, le=1000, description="hints seen and not clicked since that are kept")
    fatigue_after: int = Field(5, ge=1, le=1001, description="a hint seen so often comes last; over max_exposures: off")
    bought_s: float = Field(
        14 * 86400, ge=0, le=366 * 86400, description="no hints for so long about what was bought; 0: off"
    )
    ttl_s: Seconds = Field(30 * 86400, description="forgotten after so long without an event")
    max_age_s: Seconds = Field(30 * 86400, description="events older than this are refused")
    max_future_s: Seconds = Field(300, description="clock skew allowed to front ends")


class QueueSettings(_Section):
    """The due queue: when a shopper's refresh is due, and how long a worker may hold it."""

    delay_s: float = Field(0.5, ge=0, le=3600, description="quiet time after an event before a refresh")
    max_wait_s: float = Field(3.0, ge=0, le=3600, description="a refresh waits no longer than this, however busy")
    priority_delay_s: float = Field(0.0, ge=0, le=3600, description="delay after a purchase or a first event")
    lease_s: float = Field(30.0, gt=0, le=3600, description="a silent worker loses its shoppers after so long")
    retry_s: float = Field(2.0, gt=0, le=3600, description="a returned shopper is due again after so long")
    cooldown_s: float = Field(0.0, ge=0, le=86400, description="between two refreshes of a shopper, unless urgent")
    shed_after_s: float = Field(10.0, ge=0, le=86400, description="a longer wait puts shoppers without a list ahead")
    let_go_s: Seconds = Field(7 * 86400, description="who did nothing for so long is refreshed at the next visit")
    max_tries: int = Field(5, ge=1, le=100, description="failures of one shopper that make a dead letter")


class VllmSettings(_Section):
    """The vLLM server (or any OpenAI-compatible completions server)."""

    url: str = Field("http://127.0.0.1:8100", pattern=r"^https?://", description="without /v1")
    model: str = Field("aigq-mini", min_length=1, description="name under which the model is served")
    api_key: SecretStr | None = None
    timeout_s: Seconds = 60.0
    retries: int = Field(2, ge=0, le=10, description="of a request that failed in a way that may pass")
    chat: bool = Field(default=False, description="ask in plain language through the model's chat template")
    max_tokens: int = Field(96, ge=8, le=4096, description="token cap of one list")
    reasoning_tokens: int = Field(192, ge=16, le=8192, description="token cap of a rationale (think.reasoning)")
    temperature: float = Field(0.0, ge=0, le=2)
    presence_penalty: float = Field(2.0, ge=0, le=2, description="keeps small models from repeating themselves")
    frequency_penalty: float = Field(2.0, ge=0, le=2, description="the same, where a known query is one token")

    @property
    def recipe(self) -> tuple[str | bool | float, ...]:
        """All by which the same prompt gets another list; what digests of lists are made from."""
        penalties = (self.presence_penalty, self.frequency_penalty)
        return (self.model, self.chat, self.max_tokens, self.reasoning_tokens, self.temperature, *penalties)


class DirectSettings(_Section):
    """The nearline worker (AIGQ-Direct)."""

    batch_size: int = Field(32, ge=1, le=1024, description="prompts a request, at most")
    in_flight: int = Field(16, ge=1, le=64, description="batches at work at once, at most")
    poll_s: float = Field(0.1, gt=0, le=60, description="pause when nobody is due")
    u2q_ttl_s: Seconds = Field(7 * 86400, description="life of a list in Redis")
    u2q_fresh_s: Seconds = Field(86400, description="an older list is made anew when its shopper comes back")
    renew_per_s: float = Field(
        10.0, ge=0, le=100_000, description="visitors a second and service process whose list another model wrote"
    )
    ranker: Path | None = Field(None, description="directory of `aigq train ranker`; without, lists stay as written")
    candidates: int = Field(0, ge=0, le=60, description="queries of the ranker that a prompt tells: what was taught")
    ctr: Path | None = Field(None, description="directory of `aigq train ctr`: ranked lists lean towards clicks")
    ctr_weight: float = Field(CTR_WEIGHT, ge=0, le=10, description="power of the chance of a click; 0 leaves it out")
    metrics_port: int = Field(0, ge=0, le=65535, description="Prometheus port; 0 = off")


class ThinkSettings(_Section):
    """The offline job that fills x2q."""

    batch_size: int = Field(64, ge=1, le=4096)
    ray_batches: int = Field(8, ge=1, le=100_000, description="batches at work at once with --engine ray, at most")
    max_items: int = Field(2000, ge=0, le=100_000_000, description="item triggers, at most")
    token_budget: int = Field(1_000_000, ge=1, description="tokens of prompts and lists that a version may cost")
    min_coverage: float = Field(0.9, ge=0, le=1, description="share of triggers that must get hints to publish")
    min_kept: float = Field(0.8, ge=0, le=1, description="lists of a version, of as many as the one before has")
    max_changed: float = Field(0.5, ge=0, le=1, description="share of lists that may lose half of their queries")
    keep_previous_s: Seconds = Field(6 * 3600, ge=3600, description="life of the replaced version, for rollback")
    reasoning: bool = Field(default=False, description="ask for a rationale before each list; the model must know how")


class SinkSettings(_Section):
    """The sink that drains the event streams to Parquet logs."""

    out: Path = Field(Path("var/logs"), description="directory of the logs; one a namespace, and always the same")
    part_rows: int = Field(100_000, ge=1, le=1_000_000, description="lines that make a part")
    flush_s: Seconds = Field(60.0, description="a line waits no longer than this for its part")
    poll_s: float = Field(0.5, gt=0, le=60, description="pause when nothing is new")
    dedup_window: int = Field(1_000_000, ge=0, description="latest lines among which an event_id is known again")
    lease_s: Seconds = Field(30.0, description="another sink may take over after so long without a sign")
    metrics_port: int = Field(0, ge=0, le=65535, description="Prometheus port; 0 = off")


class Arm(_Section):
    """One arm of the experiment: what its shoppers get."""

    name: str = Field("default", pattern=r"^[a-z0-9_-]{1,32}$", description="in answers, logs and metrics")
    share: float = Field(1.0, ge=0, le=1, description="of shoppers; the shares of all arms make 1")
    sources: tuple[Source, ...] = Field(SOURCES, description="recall sources that are asked; popular always fills up")
    exploration: float = Field(0.0, ge=0, le=1, description="share of answers in which one slot may show another hint")
    trigger_share: float = Field(0.4, gt=0, le=1, description="of a list that one trigger may fill")
    category_share: float = Field(1.0, gt=0, le=1, description="of a list that queries of one category may fill")
    source_share: float = Field(1.0, gt=0, le=1, description="of a list that one source may fill, while others can")
    diversity: float = Field(0.0, ge=0, le=1, description="weight of being unlike what is shown, against the score")


class ExperimentSettings(_Section):
    """The experiment that is running: arms by a salted hash of the shopper."""

    salt: str = Field("aigq", pattern=r"^[ -~]{1,64}$", description="another salt shuffles shoppers anew")
    arms: tuple[Arm, ...] = (Arm(),)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("two arms have the same name")
        if abs(sum(arm.share for arm in self.arms) - 1) > _SHARE_ERROR:
            raise ValueError("the shares of the arms must make 1")
        return self


class LogSettings(_Section):
    """What processes write to standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TraceSettings(_Section):
    """Traces by OpenTelemetry (`pip install 'aigq[trace]'`)."""

    endpoint: str | None = Field(None, pattern=r"^https?://", description="OTLP over HTTP, without /v1/traces; off")
    sample: float = Field(0.01, ge=0, le=1, description="share of requests without a caller's traceparent")


class ServiceSettings(_Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    artefacts: Path = Field(Path("var/artefacts"), description="directory that `aigq artefacts build` wrote")
    min_results: int = Field(1, ge=0, le=1000, description="items that a hint must find, when written and when served")
    block_list: Path | None = Field(None, description="file of words and phrases that no hint may hold, one a line")
    budget_ms: int = Field(50, ge=1, le=1000, description="deadline of a hints request; callers may lower it")
    max_body_bytes: int = Field(1_000_000, ge=1000)
    max_concurrency: int = Field(256, ge=1, description="requests in flight; more get 503 + Retry-After")
    cors_origins: tuple[str, ...] = ()
    explain_token: SecretStr | None = Field(None, min_length=16, description="who sends it may ask why (explain=true)")
    breaker_failures: int = Field(5, ge=1, description="consecutive failures that open a breaker")
    breaker_reset_s: Seconds = Field(1.0, description="pause before one probe is let through")


class Settings(BaseSettings):
    """All settings. Use `load_settings`, which turns every mistake into a `ConfigError`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True
    )
    redis: RedisSettings = RedisSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    queue: QueueSettings = QueueSettings()
    vllm: VllmSettings = VllmSettings()
    direct: DirectSettings = DirectSettings()
    think: ThinkSettings = ThinkSettings()
    sink: SinkSettings = SinkSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    log: LogSettings = LogSettings()
    trace: TraceSettings = TraceSettings()
    service: ServiceSettings = ServiceSettings()

    reserved: ClassVar[frozenset[str]] = frozenset({CONFIG_VARIABLE})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file, whose content arrives as init arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Return the settings of `path` (default: the file named by `AIGQ_CONFIG`, if set) under the environment.

    Raises:
        ConfigError: naming the file or variable, the key, the type of the value and what is allowed.
    """
    if path is None and (named := os.environ.get(CONFIG_VARIABLE)):
        path = Path(named)
    data = _read_toml(path) if path else {}
    _refuse_unknown_variables()
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None
    except SettingsError as error:
        # The only variables that hold JSON are lists; the library's message names the section, not the value.
        raise ConfigError(f'environment: a list must be written as JSON, for example ["a"]: {error}') from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); set {CONFIG_VARIABLE} to a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _refuse_unknown_variables() -> None:
    sections = tuple(f"{ENV_PREFIX}{name.upper()}_" for name in Settings.model_fields)
    for name in os.environ:
        if name.startswith(ENV_PREFIX) and name not in Settings.reserved and not name.startswith(sections):
            known = ", ".join(sorted(section + "*" for section in sections))
            raise ConfigError(f"environment variable {name} is unknown; known are {CONFIG_VARIABLE}, {known}")


def _explain(error: ValidationError, path: Path | None) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"])
        variable = ENV_PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
        origin = f"environment variable {variable}" if variable in os.environ else str(path or "settings")
        given = type(problem["input"]).__name__
        lines.append(f"{origin}: {key}: {problem['msg']} (got a value of type {given})")
    return "\n".join(lines)

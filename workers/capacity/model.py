"""From a shop's size and measured figures to memory, cores, accelerators and cost. Pure arithmetic, all of it here."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.contracts.errors import ConfigError

_DAY_S: Final = 86_400.0
_MONTH_H: Final = 730.0
_GB: Final = 1e9
_THOUSAND: Final = 1e3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Part):
    """Where and when the figures were measured."""

    date: date
    text: str


class RedisFigures(_Part):
    """Bytes of Redis, keys and due marks included, measured with so many `shoppers`."""

    first_action_bytes: float = Field(gt=0)
    action_bytes: float = Field(gt=0)
    list_bytes: float = Field(gt=0)
    trigger_bytes: float = Field(gt=0)
    shoppers: int = Field(gt=0)


class ServiceFigures(_Part):
    """What one core of the service answers."""

    hints_per_core_s: float = Field(gt=0)
    events_per_core_s: float = Field(gt=0)


class AcceleratorFigures(_Part):
    """What one vLLM refreshes, service and worker beside it."""

    refreshes_s: float = Field(gt=0)
    tokens_per_refresh: float = Field(gt=0)


class Measured(_Part):
    """All measured figures; see measured.toml beside this."""

    machine: Machine
    redis: RedisFigures
    service: ServiceFigures
    accelerator: AcceleratorFigures

    @classmethod
    def read(cls, path: Path) -> "Measured":
        """Read a file like measured.toml.

        Raises:
            ConfigError: it cannot be read, or a figure is missing or not above 0; names it.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({error.strerror}); --measured names a file of figures"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not TOML: {error}") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise ConfigError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


@dataclass(frozen=True)
class Shop:
    """A shop's size and habits; rates are of a day and an active shopper."""

    shoppers: float
    daily_active: float
    visits: float
    actions: float
    refreshes: float
    kept_actions: float
    triggers: float
    peak: float


@dataclass(frozen=True)
class Plant:
    """What can be bought, how full it may run at the peak, and prices."""

    shard_gb: float
    copies: int
    load: float
    accelerator_refreshes_s: float | None
    gb_month: float
    core_hour: float
    accelerator_hour: float


@dataclass(frozen=True)
class Need:
    """One line of the answer; `basis` says what it rests on."""

    what: str
    amount: float
    unit: str
    basis: str


def needs(shop: Shop, plant: Plant, measured: Measured) -> list[Need]:
    """Return what `shop` needs, in the order of a request's way: memory, service, refreshes, cost."""
    redis, service = measured.redis, measured.service
    kept = max(0.0, shop.kept_actions - 1)
    a_shopper = redis.first_action_bytes + kept * redis.action_bytes + redis.list_bytes
    memory_gb = (shop.shoppers * a_shopper + shop.triggers * redis.trigger_bytes) / _GB
    shards = math.ceil(memory_gb / (plant.shard_gb * plant.load))
    linear = f"measured with {redis.shoppers:,} shoppers, linear in their number"

    active = shop.shoppers * shop.daily_active
    mean_s = {name: active * getattr(shop, name) / _DAY_S for name in ("visits", "actions", "refreshes")}
    peak_s = {name: value * shop.peak for name, value in mean_s.items()}
    busy_cores = peak_s["visits"] / service.hints_per_core_s + peak_s["actions"] / service.events_per_core_s
    cores = math.ceil(busy_cores / plant.load)

    refreshes_s = plant.accelerator_refreshes_s or measured.accelerator.refreshes_s
    accelerators = math.ceil(peak_s["refreshes"] / refreshes_s / plant.load)
    accelerator = (
        f"given: {refreshes_s:g} refreshes/s of each"
        if plant.accelerator_refreshes_s
        else f"extrapolated: {refreshes_s:g} refreshes/s of a CPU, measure yours"
    )
    cost = {
        "memory": memory_gb / plant.load * plant.copies * plant.gb_month,
        "service": cores * plant.core_hour * _MONTH_H,
        "accelerators": accelerators * plant.accelerator_hour * _MONTH_H,
    }
    thousands = mean_s["visits"] * 3600 * _MONTH_H / _THOUSAND
    per_core = f"measured on one core, linear in cores, {plant.load:.0%} busy at the peak"
    return [
        Need("Redis memory a shopper", a_shopper, "bytes", linear),
        Need("Redis memory", memory_gb, "GB", linear),
        Need(
            "Redis shards", shards, f"of {plant.shard_gb:g} GB, times {plant.copies}", f"at most {plant.load:.0%} full"
        ),
        Need("hints at the peak", peak_s["visits"], "requests/s", "given"),
        Need("events at the peak", peak_s["actions"], "events/s", "given"),
        Need("service cores", cores, "cores", per_core),
        Need("refreshes, mean", mean_s["refreshes"], "shoppers/s", "given"),
        Need("refreshes at the peak", peak_s["refreshes"], "shoppers/s", "given"),
        Need("accelerators", accelerators, "vLLM replicas", accelerator),
        Need("generated tokens", mean_s["refreshes"] * measured.accelerator.tokens_per_refresh, "tokens/s", "measured"),
        *(Need(f"cost: {name}", value, "a month", "prices given") for name, value in cost.items()),
        Need("cost", sum(cost.values()), "a month", "sum of these"),
        Need("cost a thousand requests", sum(cost.values()) / thousands, "for all hints of each", "sum over requests"),
    ]


def by_name(found: list[Need]) -> Mapping[str, Any]:
    """Return needs as JSON would have them."""
    return {one.what: {"amount": one.amount, "unit": one.unit, "basis": one.basis} for one in found}

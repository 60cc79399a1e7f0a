"""The rates of the simulation, as data/behaviour.yaml gives them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from service.contracts.errors import ConfigError
from workers.shop.draws import running_sums
from workers.shop.queries import Level
from workers.shop.schema import read_yaml


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Rates; the data file says what each means."""

    cold_share: float
    bot_share: float
    noise_share: float
    arrival_share: float
    consent_share: float
    pace_sigma: float
    max_sessions_30d: float
    quick_return_share: float
    quick_return_s: float
    home_share: float
    home_again_share: float
    browse_share: float
    next_task_share: float
    more_searches: float
    more_clicks: float
    no_click: float
    cart_per_click: float
    buy_per_cart: float
    consumable_cart: float
    refind_share: float
    reuse_taste: float
    old_query_share: float
    trait_share: float
    favourite_brand_share: float
    impressed_share: float
    dwell_result_s: float
    dwell_item_s: float
    new_need_weight: float
    need_tau_days: float
    need_drop: float
    max_needs: int
    interests: tuple[int, int]
    interest_fade_days: tuple[float, float]
    new_interest_30d: float
    from_interest: float
    complement_take: tuple[float, ...]
    complement_now: float
    complement_days: float
    repurchase_sigma: float
    staples: float
    levels: tuple[tuple[tuple[Level, ...], list[float]], ...]
    kind_said: tuple[float, ...]
    first_axis: float
    examine: tuple[float, ...]
    curiosity: float
    attraction_need: float
    attraction_interest: float
    other_kind: float
    wrong_detail: float
    stale: float
    satisfied: float
    fatigue: float
    epsilon: float

    @classmethod
    def read(cls, data: Path) -> Self:
        """Return the file's content.

        Raises:
            ConfigError: a rate is missing or unknown.
        """
        path = data / "behaviour.yaml"
        content: dict[str, Any] = read_yaml(path)
        try:
            content["levels"] = tuple(
                (tuple(Level[name.upper()] for name in step), running_sums(list(step.values())))
                for step in content["levels"]
            )
            return cls(**content)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{path}: {error}") from error

"""How much the scores of the sources that an artefact holds weigh beside each other.

The defaults were chosen by hand on one shop. `aigq artefacts build --ctr` fits them to a shop's own CTR ranker
(`workers.common.calibrate`) and stores them in the artefact.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights by source, each in (0, 1]: the best one weighs as much as the shopper's own list (`merge.WEIGHT_U2Q`)."""

    co_click: float = 1.0
    text: float = 0.25
    popular: float = 0.05

    def __post_init__(self) -> None:
        """Refuse a weight that is zero, negative, above one or no number.

        Raises:
            ValueError: there is one.
        """
        for source, weight in self.as_json().items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
                raise ValueError(f"the weight of {source} is {weight!r}, not a number in (0, 1]")

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return what `as_json` told.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(content, Mapping) or set(content) != set(cls.__slots__):
            raise ValueError(f"does not hold one weight for each of {', '.join(cls.__slots__)}")
        return cls(**content)

    @property
    def ending(self) -> str:
        """What the served log adds to a policy's name, so that weights that a CTR ranker gave can be told apart."""
        return "" if self is BY_HAND else "-ctr"

    def as_json(self) -> dict[str, float]:
        """Return the weights by source."""
        return asdict(self)


BY_HAND: Final = Calibration()
UNWEIGHTED: Final = Calibration(1.0, 1.0, 1.0)
"""Sources' own scores, as they are calibrated."""

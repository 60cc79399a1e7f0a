"""Experiment arms: which sources, quota and exploration a shopper gets, decided by a salted hash of who they are."""

import hashlib
from typing import Final

from service.contracts.settings import Arm, ExperimentSettings

_BYTES: Final = 8


class Experiments:
    """Assigns arms. The same shopper stays in an arm until the salt or the shares change."""

    def __init__(self, settings: ExperimentSettings) -> None:
        self._salt = settings.salt.encode()
        self._arms = settings.arms

    def arm_of(self, unit: str) -> Arm:
        """Return the arm of a shopper (or, without one, of a request): the same on every replica, without a lookup."""
        if len(self._arms) == 1:
            return self._arms[0]
        digest = hashlib.blake2b(unit.encode(), digest_size=_BYTES, key=self._salt).digest()
        place = int.from_bytes(digest, "big") / (1 << 8 * _BYTES)
        for arm in self._arms:
            place -= arm.share
            if place < 0:
                return arm
        return self._arms[-1]

"""Experiment arms: which sources, quota and exploration a shopper gets, decided by a salted hash of who they are."""

import hashlib
from typing import Final

import orjson

from service.contracts.settings import Arm, ExperimentSettings

POLICY: Final = "merge-7"
"""The rules by which lists are made; another name wherever the same settings may make another list."""
_BYTES: Final = 8
_POLICY_BYTES: Final = 4


def policy_name(arm: Arm) -> str:
    """Return what the served log calls the rules of an arm: the rules' name, and a digest of all that the arm sets.

    The arm's own name and share are left out: they change nothing in an answer.
    """
    content = orjson.dumps(arm.model_dump(mode="json", exclude={"name", "share"}), option=orjson.OPT_SORT_KEYS)
    return f"{POLICY}.{hashlib.blake2b(content, digest_size=_POLICY_BYTES).hexdigest()}"


class Experiments:
    """Assigns arms. The same shopper stays in an arm until the salt or the shares change."""

    def __init__(self, settings: ExperimentSettings) -> None:
        self._salt = settings.salt.encode()
        self._arms = settings.arms
        self.policies: Final = {arm.name: policy_name(arm) for arm in settings.arms}
        """By the arm's name."""

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

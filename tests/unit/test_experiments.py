"""Arms: the same shopper, the same arm; shares as set."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.settings import Arm, ExperimentSettings
from service.experiments import POLICY, Experiments, policy_name

ARMS = (Arm(name="control", share=0.7), Arm(name="new", share=0.2), Arm(name="off", share=0.1, sources=()))


@given(st.text(max_size=40))
def test_a_shopper_stays_in_an_arm(user_id: str) -> None:
    """On every replica, and after a restart."""
    first, second = (Experiments(ExperimentSettings(salt="a", arms=ARMS)) for _ in range(2))
    assert first.arm_of(user_id) == second.arm_of(user_id)


def test_each_arms_rules_have_a_name() -> None:
    """The same on every replica; another one for any other setting; the same for who only shares differently."""
    first, second = (Experiments(ExperimentSettings(arms=ARMS)).policies for _ in range(2))
    assert first == second
    assert first["control"] == first["new"] == f"{POLICY}.{first['new'].rsplit('.')[-1]}"
    given: list[dict[str, object]] = [
        {}, {"sources": ("u2q",)}, {"exploration": 0.1}, {"trigger_share": 0.5}, {"category_share": 0.5},
        {"source_share": 0.5}, {"diversity": 0.5},
    ]  # fmt: skip
    assert {field for one in given for field in one} == Arm.model_fields.keys() - {"name", "share"}
    assert len({policy_name(Arm.model_validate(one)) for one in given}) == len(given)


def test_shares_are_kept() -> None:
    """Of many shoppers, each arm has its share; another salt shuffles them independently."""
    users, both = 20_000, Counter[tuple[str, str]]()
    one, other = (Experiments(ExperimentSettings(salt=salt, arms=ARMS)) for salt in "ab")
    for number in range(users):
        both[one.arm_of(f"u{number}").name, other.arm_of(f"u{number}").name] += 1
    for first in ARMS:
        for second in ARMS:
            p = first.share * second.share
            assert abs(both[first.name, second.name] / users - p) < 5 * (p * (1 - p) / users) ** 0.5


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}], "same name"),
        ([{"name": "a", "share": 0.5}], "must make 1"),
        ([], "must make 1"),
        ([{"name": "A b"}], "pattern"),
        ([{"sources": ["psychic"]}], "u2q"),
    ],
)
def test_wrong_arms_are_refused(arms: list[dict[str, object]], message: str) -> None:
    """At start, with what is wrong."""
    with pytest.raises(ValueError, match=message):
        ExperimentSettings.model_validate({"arms": arms})


@pytest.mark.parametrize("salt", ["", "x" * 65, "秋"])
def test_a_salt_is_short_and_plain(salt: str) -> None:
    """The hash takes at most 64 bytes."""
    with pytest.raises(ValueError, match="pattern"):
        ExperimentSettings(salt=salt)
    Experiments(ExperimentSettings(salt="x" * 64)).arm_of("u1")

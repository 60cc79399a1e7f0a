"""The prompt: structure comes from us, text from shoppers, and the two never mix."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import ANY_TEXT
from workers.common.prompt import (
    AGES,
    BEHAVIOUR,
    CANDIDATES,
    HINTS,
    MAX_EVENTS,
    MAX_FIELD_CHARS,
    PROFILE,
    SPECIAL_TOKENS,
    U2Q,
    Action,
    age_token,
    field,
    leaf,
    parent,
    render_profile,
    render_u2q,
    render_x2q_category,
    render_x2q_item,
    tells,
    with_candidates,
    without_oldest,
)

NOW = 1_700_000_000.0
TOKEN = re.compile(r"<[^>]*>")
injections = (
    st.lists(st.sampled_from(SPECIAL_TOKENS) | ANY_TEXT, max_size=4).map("".join)
    | st.sampled_from(SPECIAL_TOKENS).map(lambda t: t.replace("<", "＜").replace(">", "＞"))
    | st.sampled_from(SPECIAL_TOKENS).map("\u200b".join)
)
actions = st.builds(Action, st.sampled_from([*BEHAVIOUR, "hint_exposure"]), st.floats(NOW - 9e6, NOW + 100), injections)


def _searches(*texts: str, age: float = 0.0) -> list[Action]:
    return [Action("search", NOW - age + index * 0.001, text) for index, text in enumerate(texts)]


@given(injections)
def test_no_text_can_make_a_special_token(text: str) -> None:
    """Neither as typed, nor in full width, nor with invisible characters between."""
    safe = field(text)
    assert not any(token in safe for token in SPECIAL_TOKENS)
    assert not set("<>") & set(safe)
    assert "\n" not in safe
    assert len(safe) <= MAX_FIELD_CHARS


@given(
    st.lists(actions, max_size=30),
    st.dictionaries(st.text("abc", min_size=1), injections, max_size=3),
    st.lists(injections, max_size=3),
)
def test_a_prompt_holds_only_the_tokens_that_structure_it(
    acts: list[Action], profile: dict[str, str], candidates: list[str]
) -> None:
    """However hostile the texts: one opening, one closing, at most one profile, at most `MAX_EVENTS` actions."""
    assert with_candidates(render_u2q(acts, profile, NOW), candidates) == render_u2q(acts, profile, NOW, candidates)
    tokens = TOKEN.findall(render_u2q(acts, profile, NOW, candidates))
    assert tokens.count(CANDIDATES) == bool(candidates)
    assert set(tokens) <= set(SPECIAL_TOKENS)
    assert tokens[0] == U2Q
    assert tokens[-1] == HINTS
    assert tokens.count(U2Q) == tokens.count(HINTS) == 1
    assert tokens.count(PROFILE) <= 1
    assert sum(token in BEHAVIOUR.values() for token in tokens) <= MAX_EVENTS


@given(injections, injections)
def test_item_and_category_prompts_are_safe_too(title: str, category: str) -> None:
    """Titles come from sellers."""
    assert TOKEN.findall(render_x2q_item(title, category)) == ["<x2q>", "<item>", "<category>", HINTS]
    assert TOKEN.findall(render_x2q_category(category)) == ["<x2q>", "<category>", HINTS]


def test_oldest_first_whatever_the_order_given() -> None:
    """The newest action stands next to where the model writes."""
    acts = _searches("first", "second", "third")
    expected = "<u2q><now><search>\nfirst<search>\nsecond<search>\nthird<hints>"
    assert render_u2q(acts, {}, NOW) == render_u2q(acts[::-1], {}, NOW) == expected


def test_only_the_last_actions_are_told() -> None:
    """`MAX_EVENTS` of them, the newest."""
    prompt = render_u2q(_searches(*(f"query {n}" for n in range(MAX_EVENTS + 5))), {}, NOW)
    assert prompt.count("<search>") == MAX_EVENTS
    assert "query 4<" not in prompt
    assert f"query {MAX_EVENTS + 4}<hints>" in prompt


def test_an_age_is_told_when_it_changes() -> None:
    """Not for each action, and repeats are told once."""
    acts = [*_searches("old", "older", age=86400), *_searches("new", "new", "newer")]
    told = "<u2q><1_day_ago><search>\nold<search>\nolder<now><search>\nnew<search>\nnewer<hints>"
    assert render_u2q(acts, {}, NOW) == told


def test_the_same_text_is_not_told_again() -> None:
    """A click on what was just searched costs one token; after something else, or at another age, it is told again."""
    acts = [
        Action("search", NOW - 86400, "tent"), Action("click", NOW - 86399, "Tent"), Action("cart", NOW - 1, "tent"),
        Action("purchase", NOW - 1, "tent"), Action("click", NOW - 1, "lamp"), Action("click", NOW - 1, "tent"),
    ]  # fmt: skip
    told = "<u2q><1_day_ago><search>\ntent<click><now><cart>\ntent<purchase><click>\nlamp<click>\ntent<hints>"
    assert render_u2q(acts, {}, NOW) == told


def test_exposures_are_not_told() -> None:
    """That a hint was shown says nothing of intent."""
    assert render_u2q([Action("hint_exposure", NOW, "tent")], {}, NOW) == "<u2q><hints>"


@pytest.mark.parametrize(
    ("seconds", "token"),
    [
        (-5, "<now>"), (0, "<now>"), (600, "<now>"), (601, "<1_hour_ago>"), (86400, "<1_day_ago>"),
        (3 * 86400, "<3_days_ago>"), (7 * 86400, "<1_week_ago>"), (1e9, "<1_month_ago>"),
    ],
)  # fmt: skip
def test_ages(seconds: float, token: str) -> None:
    """Every age has a token, the future counts as now."""
    assert age_token(seconds) == token
    assert [edge for edge, _ in AGES] == sorted(edge for edge, _ in AGES)


def test_profile_and_fields() -> None:
    """Values by the order of their names, empty ones left out; long text ends at a word."""
    assert render_profile({"z": "North", "a": "young parent", "m": ""}) == "<profile>young parent, north"
    assert render_profile({}) == ""
    assert field("word " * 30).endswith("word")
    assert field("x" * 100) == "x" * MAX_FIELD_CHARS
    assert leaf("A > B > C") == "C"
    assert leaf("") == ""
    assert [parent(one) for one in ("A > B > C", "A > B", "A", "")] == ["A > B", "A", "", ""]


def test_a_prompt_that_is_too_long_loses_its_oldest_half() -> None:
    """The profile stays; what is left is what the newest actions alone would have made."""
    acts = [
        Action("search", NOW - 7200, "tent"), Action("click", NOW - 7000, "lamp"), Action("search", NOW - 60, "rope"),
        Action("click", NOW - 50, "rope"), Action("cart", NOW - 40, "red rope"),
    ]  # fmt: skip
    profile = {"segment": "camper"}
    told = without_oldest(render_u2q(acts, profile, NOW, ["rope ladder", "sling"]))
    assert told == render_u2q(acts[3:], profile, NOW, ["rope ladder", "sling"])
    assert told.endswith("<cart>\nred rope<candidates>\nrope ladder\nsling<hints>")
    shorter = without_oldest(render_u2q(acts, profile, NOW))
    assert shorter == render_u2q(acts[3:], profile, NOW)
    assert shorter == "<u2q><profile>camper<now><click>\nrope<cart>\nred rope<hints>"
    assert without_oldest(shorter) == "<u2q><profile>camper<now><cart>\nred rope<hints>"
    assert without_oldest("<u2q><profile>camper<now><cart>\nred rope<hints>") is None
    assert without_oldest(render_x2q_item("tent", "Tents")) is None


@given(st.lists(actions, max_size=30), st.dictionaries(st.text("abc", min_size=1), injections, max_size=3))
def test_shortening_ends(acts: list[Action], profile: dict[str, str]) -> None:
    """With one action, after at most as many steps as 24 can be halved; each prompt is whole."""
    prompt: str | None = render_u2q(acts, profile, NOW)
    steps = 0
    while (prompt := without_oldest(prompt)) is not None:
        steps += 1
        assert prompt.startswith(U2Q + render_profile(profile))
        assert prompt.endswith(HINTS)
    assert steps <= 5


def test_what_tells_nothing() -> None:
    """Structure alone, or a title of symbols that no field may hold."""
    assert not tells(render_x2q_item("<>", " > "))
    assert not tells(render_u2q([], {"segment": ""}, NOW))
    assert tells(render_x2q_item("", "Tents"))

"""What a chat model is told in place of our prompt: the same in words, and nothing of what a shopper typed as order."""

from hypothesis import given

from tests.support import ANY_TEXT
from workers.common.prompt import Action, render_u2q, render_x2q_category, render_x2q_item, with_reasons
from workers.common.spoken import spoken


def test_a_shopper_in_words() -> None:
    """Profile, ages and acts in their order; what is done with the text just told is told with it."""
    actions = [
        Action("search", 0.0, "camping tent"),
        Action("click", 90_000.0, "camping tent"),
        Action("cart", 90_000.0, "stove"),
    ]
    said = spoken(render_u2q(actions, {"segment": "camper"}, 90_100.0, ["gas", "pan"])).splitlines()
    assert said[1] == "About the shopper: camper."
    assert said[2] == "- 1 day ago, the shopper searched for 'camping tent'."
    assert said[3] == "- just now, the shopper opened the product 'camping tent'."
    assert said[4] == "- just now, the shopper put into the cart the product 'stove'."
    assert said[5] == "What others searched then: 'gas', 'pan'."


def test_reasons_in_words() -> None:
    """The same form as our own models: what comes before `<hints>` is the rationale."""
    prompt = render_x2q_item("Gas Stove", "Outdoors > Stoves")
    plain, reasoned = spoken(prompt), spoken(with_reasons(prompt))
    assert "<hints>" not in plain
    assert "Then write <hints>" in reasoned
    assert [line for line in reasoned.splitlines() if "<hints>" not in line] == plain.splitlines()


def test_a_trigger_in_words() -> None:
    """An item with its category, and a category alone."""
    item = spoken(render_x2q_item("Gas Stove", "Outdoors > Stoves"))
    assert "The shopper looks at 'gas stove'." in item
    assert "Its category: stoves." in item
    assert "Its category: outdoors stoves." in spoken(render_x2q_category("Outdoors > Stoves"))


@given(ANY_TEXT)
def test_text_stays_in_its_quotes(text: str) -> None:
    """Whatever was typed is one line, and changes nothing else."""
    said = spoken(render_u2q([Action("search", 0.0, text)], {}, 0.0)).splitlines()
    plain = spoken(render_u2q([Action("search", 0.0, "tent")], {}, 0.0)).splitlines()
    assert (said[0], said[2:]) == (plain[0], plain[2:])
    assert said[1].startswith("- just now, the shopper searched for ")

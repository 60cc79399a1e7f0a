"""The prompt that Direct, Think and training share: structured fields as special tokens, free text between them.

Compressed rendering (paper section on prompt compression): one token names a field or an age, so that the budget goes
to what the shopper did. Free text is untrusted: angle brackets leave it, so no text can open or close a field.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from service.contracts.text import clean

BOS: Final = "<bos>"
EOS: Final = "<eos>"
PAD: Final = "<pad>"
U2Q: Final = "<u2q>"
X2Q: Final = "<x2q>"
PROFILE: Final = "<profile>"
CATEGORY: Final = "<category>"
ITEM: Final = "<item>"
CANDIDATES: Final = "<candidates>"
CANDIDATES_KEY: Final = "aigq_candidates"
"""In a checkpoint's config.json: how many candidates prompts told when it was taught."""
PLAIN_KEY: Final = "aigq_plain"
"""And whether they told shoppers in plain language (`render_plain`)."""
LINE_TOKEN_KEY: Final = "aigq_line_token"  # noqa: S105  (no password)
"""And whether a line's end is always a token of its own, as with every base: penalties on repetition forbid it."""
PROMPT_KEYS: Final = (CANDIDATES_KEY, PLAIN_KEY, LINE_TOKEN_KEY)
"""What a checkpoint says of the prompts and lists that it was taught by."""
TAUGHT: Final = "aigq.json"
"""Where an adapter says it, whose config.json is its base's."""
HINTS: Final = "<hints>"
REASONS: Final = "<reasons>"
"""In place of the last `<hints>`: say why first, then `<hints>` and the list. Only models that learned it have it."""
BEHAVIOUR: Final[Mapping[str, str]] = {
    "search": "<search>",
    "click": "<click>",
    "cart": "<cart>",
    "purchase": "<purchase>",
    "hint_click": "<hint_click>",
}
VERBS: Final[Mapping[str, str]] = {
    "search": "searched for",
    "click": "opened the product",
    "cart": "put into the cart the product",
    "purchase": "bought the product",
    "hint_click": "clicked on the suggested search",
}
# Upper edge in seconds and the token for an event that is at most that old.
AGES: Final[Sequence[tuple[float, str]]] = (
    (600.0, "<now>"),
    (6 * 3600.0, "<1_hour_ago>"),
    (2 * 86400.0, "<1_day_ago>"),
    (5 * 86400.0, "<3_days_ago>"),
    (14 * 86400.0, "<1_week_ago>"),
    (float("inf"), "<1_month_ago>"),
)
PROMPT_TOKENS: Final[Sequence[str]] = (
    U2Q, X2Q, PROFILE, CATEGORY, ITEM, HINTS, *BEHAVIOUR.values(), *(token for _, token in AGES), CANDIDATES,
)  # fmt: skip
"""What every model of ours knows, whatever its base: prompts are made of them."""
SPECIAL_TOKENS: Final[Sequence[str]] = (PAD, BOS, EOS, *PROMPT_TOKENS)
"""Those of a tokenizer from scratch; a base has its own padding, beginning and end."""
REASONING_TOKENS: Final[Sequence[str]] = (*PROMPT_TOKENS, REASONS)
"""What a model has that learned to give reasons."""
SEPARATOR: Final = "\n"
"""Begins each query and item's words, in prompts as in lists, so that a known query is the same token everywhere."""
MAX_EVENTS: Final = 24
MAX_FIELD_CHARS: Final = 64

_UNIT = re.compile(r"(<[^<>]+>)([^<]*)")
"""A token and the text of its field, which holds no angle brackets."""
_ACTION_TOKENS = frozenset(BEHAVIOUR.values())
_AGE_TOKENS = frozenset(token for _, token in AGES)
_BRACKETS = str.maketrans({"<": " ", ">": " "})


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a shopper did, as the prompt shows it: `text` is a query, or the item's title."""

    type: str
    ts: float
    text: str


@lru_cache(maxsize=1 << 16)
def field(text: str) -> str:
    """Return `text` safe inside a field: clean, no angle brackets, lower case, at most `MAX_FIELD_CHARS` long."""
    # Cleaned first, since full-width brackets become plain ones only then.
    safe = clean(clean(text).translate(_BRACKETS)).lower()
    if len(safe) <= MAX_FIELD_CHARS:
        return safe
    cut = safe[:MAX_FIELD_CHARS]
    return cut.rsplit(" ", 1)[0] if " " in cut else cut


def leaf(category: str) -> str:
    """Return the last level of a category path "A > B > C"."""
    return category.rsplit(">", 1)[-1].strip()


def parent(category: str) -> str:
    """Return the levels of a category path above its last; empty if there is none."""
    return category.rpartition(">")[0].strip()


def age_token(seconds: float) -> str:
    """Return the token for an event `seconds` old; the future counts as now."""
    return next(token for edge, token in AGES if seconds <= edge)


def render_profile(profile: Mapping[str, str]) -> str:
    """Return the profile's values in the order of their names: the model learns what a value means, not the name."""
    values = [field(value) for _, value in sorted(profile.items()) if value]
    return PROFILE + ", ".join(values) if values else ""


def render_u2q(
    actions: Iterable[Action], profile: Mapping[str, str], now: float, candidates: Sequence[str] = ()
) -> str:
    """Return the Direct prompt for a shopper at `now` (epoch seconds): oldest action first, newest last.

    `candidates`: queries that retrieval found, likeliest first, told as the list is written, so that a small model
    chooses among them where a large one would remember them.

    Only the last `MAX_EVENTS` actions are told; an immediate repeat is told once, and what is done with the text just
    told (a search, then a click on what it means) is told without the text.
    An age token is written when the age changes, not for each action.
    """
    parts = [U2Q, render_profile(profile)]
    known = [a for a in actions if a.type in BEHAVIOUR]
    age = kind = text = ""
    for action in sorted(known, key=lambda a: a.ts)[-MAX_EVENTS:]:
        told, token = _said(action.text), age_token(now - action.ts)
        if (action.type, told, token) == (kind, text, age):
            continue
        parts += [token] * (token != age) + [BEHAVIOUR[action.type]] + [told] * ((told, token) != (text, age))
        age, kind, text = token, action.type, told
    return "".join([*parts, _render_candidates(candidates), HINTS])


def with_candidates(prompt: str, candidates: Sequence[str]) -> str:
    """Return a `render_u2q` prompt that tells `candidates` too."""
    return prompt.removesuffix(HINTS) + _render_candidates(candidates) + HINTS


def _render_candidates(queries: Sequence[str]) -> str:
    return CANDIDATES + render_list([field(query) for query in queries]) if queries else ""


def _said(text: str) -> str:
    safe = field(text)
    return SEPARATOR + safe if safe else ""


def tells(prompt: str) -> bool:
    """Whether any field of a prompt has text: a model that is told nothing answers with what is popular."""
    return any(said for _, said in _UNIT.findall(prompt))


def without_oldest(prompt: str) -> str | None:
    """Return a `render_u2q` prompt without the older half of its actions, None if it tells but one, or is another's.

    For a model whose window it does not fit into: the newest say most of what comes next.
    """
    head, tail, told = "", "", []
    age = text = ""
    for token, said in _UNIT.findall(prompt.removesuffix(HINTS)):
        if token in _AGE_TOKENS:
            age = token
        elif token in _ACTION_TOKENS:
            text = said or text
            told.append((age, token, said, text))
        elif token == CANDIDATES:
            tail = token + said
        else:
            head += token + said
    kept = told[len(told) // 2 + len(told) % 2 :]
    if not kept:
        return None
    parts = [head]
    before = None
    for at, (when, token, said, full) in enumerate(kept):
        parts += [when] * (when != before) + [token, said if at else full]
        before = when
    return "".join([*parts, tail, HINTS])


def render_plain(
    actions: Iterable[Action], profile: Mapping[str, str], now: float, candidates: Sequence[str] = ()
) -> str:
    """Return the same in plain language with full titles: the baseline that compression is measured against."""
    lines = [plain_opening(profile)]
    lines += [f'{told}{text}"' for told, text in plain_acts(actions, now)]
    if candidates:
        lines.append("Searches that may fit:" + render_list([field(query) for query in candidates]))
    lines.append("Suggest ten searches that the shopper is about to want, one a line, the likeliest first:")
    return "\n".join(lines) + "\n"


def plain_opening(profile: Mapping[str, str]) -> str:
    """Return how a plain prompt begins."""
    values = [f"{name} {clean(value)}" for name, value in sorted(profile.items()) if value]
    about = f"About the shopper: {', '.join(values)}.\n" if values else ""
    return f"You suggest searches to a shopper of an online shop.\n{about}What the shopper did, oldest first:"


def plain_acts(actions: Iterable[Action], now: float) -> list[tuple[str, str]]:
    """Return the last `MAX_EVENTS` actions in plain language, each as what leads to its text, and that; `"` ends it."""
    known = sorted((a for a in actions if a.type in BEHAVIOUR), key=lambda a: a.ts)[-MAX_EVENTS:]
    return [(f'- {_ago(now - a.ts)} {VERBS[a.type]} "', clean(a.text)) for a in known]


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def render_x2q_item(title: str, category: str) -> str:
    """Return the Think prompt for an item trigger."""
    return f"{X2Q}{ITEM}{_said(title)}{CATEGORY}{_said(leaf(category))}{HINTS}"


def render_x2q_category(category: str) -> str:
    """Return the Think prompt for a category trigger, told by its full path without the separators."""
    return f"{X2Q}{CATEGORY}{_said(category.replace('>', ' '))}{HINTS}"


def render_x2q_query(query: str) -> str:
    """Return the Think prompt for a query trigger: a shopper who just searched it, and of whom nothing else is known.

    So models that learned Direct's prompts alone can answer it.
    """
    return render_u2q([Action("search", 0.0, query)], {}, 0.0)


def render_x2q_segment(segment: str) -> str:
    """Return the Think prompt for a segment trigger: a shopper of whom only the segment is known."""
    return render_u2q([], {"segment": segment}, 0.0)


def with_reasons(prompt: str) -> str:
    """Return the prompt that asks for a rationale before the list (`workers.common.reasons`)."""
    return prompt.removesuffix(HINTS) + REASONS


def render_list(queries: Sequence[str]) -> str:
    """Return the completion that training teaches: each query begins with a separator; no end-of-sequence token."""
    return "".join([SEPARATOR + query for query in queries])

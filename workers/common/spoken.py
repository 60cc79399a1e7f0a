"""Our prompts in plain language, for models that were not trained on them: asked through their chat template.

The prompt's special tokens are the only structure, and free text cannot hold one, so it is read back token by token.
"""

import re
from collections.abc import Mapping
from typing import Final

from workers.common.prompt import (
    AGES,
    BEHAVIOUR,
    CANDIDATES,
    CATEGORY,
    HINTS,
    ITEM,
    PROFILE,
    REASONS,
    SEPARATOR,
    VERBS,
)

_PART: Final = re.compile(r"(<[a-z0-9_]+>)([^<]*)")
_AGES: Final = frozenset(token for _, token in AGES)
_DID: Final[Mapping[str, str]] = {token: VERBS[kind] for kind, token in BEHAVIOUR.items()}
_ASK: Final = (
    "Suggest ten short searches that the shopper is likely to type next, for things that go with this or come after "
    "it. Write one search a line, two to five words each, without numbers, quotes or explanations."
)

_WHY: Final = (
    "First say in one line, in lower case and at most 40 words, what goes with this and which kinds of products come "
    f"next and why. Then write {HINTS} on a line of its own, once, and after it the searches."
)


def spoken(prompt: str) -> str:
    """Return what to say to a chat model in place of `prompt` (`workers.common.prompt`)."""
    lines = ["You write search suggestions for an online shop."]
    age = text = ""
    for token, told in _PART.findall(prompt):
        said = told.strip()
        text = said or text
        if token in _AGES:
            age = token.strip("<>").replace("_", " ").replace("now", "just now")
        elif token in _DID:
            lines.append(f"- {age}, the shopper {_DID[token]} {text!r}.")
        elif token == PROFILE and said:
            lines.append(f"About the shopper: {said}.")
        elif token == ITEM:
            lines.append(f"The shopper looks at {said!r}.")
        elif token == CATEGORY and said:
            lines.append(f"Its category: {said}.")
        elif token == CANDIDATES:
            lines.append(f"What others searched then: {', '.join(map(repr, said.split(SEPARATOR)))}.")
    return "\n".join([*lines, *[_WHY] * prompt.endswith(REASONS), _ASK])

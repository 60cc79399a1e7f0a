"""How shoppers put a need into words: by stage of the search, with the ways people really type."""

import numpy as np

from workers.shop.catalogue import Category

STAGES = ("head", "type", "attribute", "brand", "use_case", "gift")
_TYPO_SHARE = 0.02
_MIN_TYPO_LENGTH = 5
_ABBREVIATIONS = {
    "black and white": "b&w", "stainless steel": "ss", "television": "tv", "wireless": "wifi", "inch": "in",
    "bluetooth": "bt", "with": "w/", "pack of": "pk", "bottle": "btl",
}  # fmt: skip
_ABBREVIATION_SHARE = 0.01


def write(
    category: Category, stage: str, type_index: int, value: str, brand: str, rng: np.random.Generator
) -> str:
    """Return the query for a need at a stage; `value` is the attribute that the shopper cares for."""
    kind = category.types[type_index]
    word = kind.words[_head_biased(len(kind.words), rng)]
    head = category.head[_head_biased(len(category.head), rng)]
    glue = "" if category.locale == "zh" else " "
    if stage == "head":
        text = head
    elif stage == "type":
        text = word
    elif stage == "attribute":
        text = f"{value}{glue}{word}" if category.locale == "zh" or rng.random() < 0.75 else f"{word} {value}"
    elif stage == "brand":
        text = f"{brand.lower()} {word}"
    elif stage == "use_case" and category.use_cases:
        use = category.use_cases[int(rng.integers(len(category.use_cases)))]
        text = f"{use}{head}" if category.locale == "zh" else f"{head} for {use}"
    elif stage == "gift" and category.gift_for:
        text = f"gift for {category.gift_for[int(rng.integers(len(category.gift_for)))]}"
    else:
        text = word
    return _as_typed(text, rng) if category.locale == "en" else text


def _head_biased(count: int, rng: np.random.Generator) -> int:
    """Return an index: the first wording is typed most."""
    return 0 if rng.random() < 0.7 else int(rng.integers(count))


def _as_typed(text: str, rng: np.random.Generator) -> str:
    """Return what the fingers made of it: an abbreviation or a typo in a small share."""
    draw = rng.random()
    if draw < _TYPO_SHARE and len(text) >= _MIN_TYPO_LENGTH:
        place = int(rng.integers(1, len(text) - 2))
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        return swapped if rng.random() < 0.5 else text[:place] + text[place + 1 :]
    if draw < _TYPO_SHARE + _ABBREVIATION_SHARE:
        for long, short in _ABBREVIATIONS.items():
            if long in text:
                return text.replace(long, short)
    return text

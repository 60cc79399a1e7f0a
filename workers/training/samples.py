"""Stage 3: what the model reads and what it learns to write, as token-ready texts.

lm:  a shopper's history; each known query in it is learned, given all that came before it.
u2q: a shopper until a moment -> the label list of that moment.
x2q: an item or a category -> what shoppers search before and after it; with lessons, also its reasons, then a list.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Self

import numpy as np
import polars as pl
import polars.selectors as cs

from service.contracts.codecs import QUERY_TYPES
from service.contracts.errors import ArtefactError
from service.contracts.keys import category_trigger, item_trigger
from service.ranking.catalogue import Item
from service.ranking.next_search import Candidates, NextSearch
from service.ranking.shopper_context import ShopperContext
from service.ranking.shortlist import distinct, shortlist
from workers.common.dataset import Dataset
from workers.common.item_text import surrogates
from workers.common.learning import anonymity_floor, read_events
from workers.common.prompt import (
    BEHAVIOUR,
    HINTS,
    MAX_EVENTS,
    SEPARATOR,
    Action,
    field,
    plain_acts,
    plain_opening,
    render_list,
    render_plain,
    render_u2q,
    render_x2q_category,
    render_x2q_item,
    with_reasons,
)
from workers.common.reasons import Lesson, render_reasoned
from workers.training.counts import Production
from workers.training.ctr import FOLDS, fold_of
from workers.training.labels import order, trigger_label
from workers.training.next_search import catalogue, context_of, learn
from workers.training.query_counts import ItemWords, count
from workers.training.recipe import DataRecipe
from workers.training.sessions import Act, History, Moment, histories, learning_period, moments

_TITLE_SHARE = 0.1
"""How often an item is told by its title although words for it are known: new items have nothing else."""
_CANDIDATE_DROPOUT = 0.1
"""How often a candidate is not told, and how often none is: a list may hold what retrieval did not find."""
_TOKEN = re.compile(r"(<[^<>]+>)")
"""Fields hold no angle brackets, so this finds the prompt's own tokens alone."""
_QUERY_TOKENS = (BEHAVIOUR["search"], BEHAVIOUR["hint_click"])
_CATEGORY_TIMES = 4
"""Few categories, many items: told several times, so that they are learned too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training row: texts in order, each learned (True) or only read; an end of sequence follows if `ends`."""

    pieces: tuple[tuple[str, bool], ...]
    ends: bool = True

    @classmethod
    def listed(cls, prompt: str, queries: Sequence[str]) -> Self:
        """Return the row that teaches a list."""
        return cls(((prompt, False), (render_list(queries), True)))

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, slots=True)
class Shop:
    """What samples need to know of a dataset, read once."""

    histories: Sequence[History]
    items: pl.DataFrame
    titles: Mapping[str, str]
    words: Mapping[str, str]
    catalogue: Mapping[str, Item]
    production: Production
    ranker: NextSearch
    period: tuple[float, float]

    def context(self, moment: Moment, profile: Mapping[str, str]) -> ShopperContext:
        """Return what rankers are told of a moment."""
        return context_of(moment.before, profile, moment.now, self.catalogue)

    @classmethod
    def read(cls, dataset: Dataset, recipe: DataRecipe, seed: int, progress: Callable[[int], None]) -> Self:
        """Read the training part of a dataset, and learn to rank next searches; `progress` hears of shoppers done.

        Raises:
            ArtefactError: there is nothing to learn from.
        """
        events, items = read_events(dataset), dataset.items()
        people, period = histories(events, dataset), learning_period(dataset)
        min_shoppers = anonymity_floor(dataset, recipe.min_shoppers)
        described, words = catalogue(items), ItemWords(items)
        profiles = dataset.profiles().select("user_id", cs.string().exclude("user_id"))

        def counted(some: Sequence[History]) -> tuple[Production, Candidates]:
            users = [history.user_id for history in some]
            production = Production(some, {key: item.category for key, item in described.items()}, min_shoppers)
            stats = count(events.filter(pl.col("user_id").is_in(users)), words, profiles)
            return production, Candidates(production.counts, stats)

        folds = [[one for one in people if fold_of(one.user_id) == fold] for fold in range(FOLDS)]
        apart = (
            (counted([one for other in folds if other is not fold for one in other])[1], fold) for fold in folds if fold
        )
        production, candidates = counted(people)
        ranker = learn(apart, candidates, described, period, seed, progress)
        titles = dict(items.select("item_id", "title").iter_rows())
        return cls(people, items, titles, surrogates(events, items), described, production, ranker, period)

    def prompt(
        self,
        acts: Sequence[Act],
        profile: Mapping[str, str],
        now: float,
        candidates: Sequence[str],
        rng: np.random.Generator,
        *,
        plain: bool,
    ) -> str:
        """Return the prompt of a shopper at `now`; `plain`: in plain language."""
        told = [self.told(act, rng, titled=plain) for act in acts]
        return (render_plain if plain else render_u2q)(told, profile, now, candidates)

    def told(self, act: Act, rng: np.random.Generator, *, titled: bool = False) -> Action:
        """Return an act as prompts tell it; `titled`: items by their titles."""
        if act.query is not None:
            return Action(act.type, act.ts, act.query)
        item_id = act.item_id or ""
        names = self.titles if titled or rng.random() < _TITLE_SHARE else self.words
        return Action(act.type, act.ts, names.get(item_id, ""))


def build(
    shop: Shop, recipe: DataRecipe, seed: int, progress: Callable[[int], None], lessons: Sequence[Lesson] = ()
) -> list[Sample]:
    """Return the list samples (u2q and x2q), shuffled by `seed`; `progress` hears of shoppers done.

    All, or `max_samples` drawn of them.

    `lessons` are learned beside the plain lists: which of the two is asked for, a prompt's last token says.

    Raises:
        ArtefactError: the dataset gives no sample.
    """
    rng = np.random.default_rng(seed)
    samples = [Sample.listed(prompt, queries[: recipe.label_size]) for _, prompt, queries in x2q_labels(shop)]
    samples += reasoned(shop, lessons)
    for history in shop.histories:
        cuts = recipe.cuts_per_shopper
        drawn = moments(history, cuts, recipe.label_window_days, shop.period, rng) if cuts else ()
        samples += filter(None, [u2q_sample(moment, history.profile, shop, recipe, rng) for moment in drawn])
        progress(1)
    if not samples:
        raise ArtefactError("the logs give no training sample before the cut-off; use a longer period of logs")
    return [samples[n] for n in rng.permutation(len(samples))[: recipe.max_samples]]


def u2q_sample(
    moment: Moment, profile: Mapping[str, str], shop: Shop, recipe: DataRecipe, rng: np.random.Generator
) -> Sample | None:
    """Return a moment's row; None if nothing known was searched after it."""
    ranked = list(shop.ranker.chances(shop.context(moment, profile)))
    queries = order(moment, ranked, shop.production.popularity)
    if not queries:
        return None
    last = len(moment.before) - 3
    kept = [act for n, act in enumerate(moment.before) if n >= last or rng.random() >= recipe.history_dropout]
    found = distinct(shortlist(ranked, shop.production.popularity, moment.own), recipe.candidates)
    if rng.random() < _CANDIDATE_DROPOUT:
        found = []
    shown = [query for query in found if rng.random() >= _CANDIDATE_DROPOUT]
    prompt = shop.prompt(kept[-2 * MAX_EVENTS :], profile, moment.now, shown, rng, plain=recipe.plain)
    return Sample.listed(prompt, queries[: recipe.label_size])


def x2q_labels(shop: Shop) -> Iterator[tuple[str, str, list[str]]]:
    """Yield key, prompt and label of each item and category that shoppers came from or went on from."""
    for item_id, title, category in shop.items.select("item_id", "title", pl.col("category").fill_null("")).iter_rows():
        key = item_trigger(item_id)
        if queries := trigger_label(key, category_trigger(category), shop.production):
            yield key, render_x2q_item(title, category), queries
    for category in shop.items["category"].drop_nulls().unique().sort().to_list():
        key = category_trigger(category)
        queries = trigger_label(key, "", shop.production) if category else []
        if queries:
            yield from [(key, render_x2q_category(category), queries)] * _CATEGORY_TIMES


def reasoned(shop: Shop, lessons: Iterable[Lesson]) -> Iterator[Sample]:
    """Yield the rows that teach reasons."""
    for one, queries in lesson_labels(shop, lessons):
        yield Sample(((with_reasons(one.prompt), False), (render_reasoned(one.rationale, queries), True)))


def lesson_labels(shop: Shop, lessons: Iterable[Lesson]) -> Iterator[tuple[Lesson, list[str]]]:
    """Yield lessons with what may be learned of their lists.

    A query that too few shoppers searched is not, whoever suggests it.
    """
    known = shop.production.popularity
    rare = {act.query for history in shop.histories for act in history.acts} - known.keys()
    for one in lessons:
        if queries := [query for query in one.queries if query not in rare]:
            yield one, queries


def phrases(shop: Shop, queries: int) -> list[str]:
    """Return the most searched `queries` as prompts and lists say them: what is worth a token of its own."""
    return list(dict.fromkeys(SEPARATOR + field(query) for query in islice(shop.production.popularity, queries)))


def lm_samples(shop: Shop, rng: np.random.Generator, *, plain: bool = False) -> list[Sample]:
    """Return histories in windows of `MAX_EVENTS` acts, each begun at a drawn place; shuffled."""
    known = frozenset(map(field, shop.production.popularity))
    samples: list[Sample] = []
    for history in shop.histories:
        start = -int(rng.integers(0, MAX_EVENTS))
        while start < len(history.acts):
            window = history.acts[max(0, start) : start + MAX_EVENTS]
            if sum(act.query is not None for act in window) > (start > 0):
                actions = [shop.told(act, rng, titled=plain) for act in window]
                if plain:
                    pieces = _plain_queries_learned(actions, history.profile, window[-1].ts, known)
                else:
                    text = render_u2q(actions, history.profile, window[-1].ts).removesuffix(HINTS)
                    pieces = _queries_learned(text, known)
                samples.append(Sample(pieces, ends=False))
            start += MAX_EVENTS * 2 // 3
    return [samples[n] for n in rng.permutation(len(samples))]


def _queries_learned(text: str, known: Container[str]) -> tuple[tuple[str, bool], ...]:
    """Return a history as pieces: known queries are learned, and the token that ends each; all else is read."""
    units: list[tuple[str, bool]] = []
    opening, ended = "", False
    for unit in filter(None, _TOKEN.split(text)):
        is_token = _TOKEN.fullmatch(unit) is not None
        learned = ended if is_token else opening in _QUERY_TOKENS and unit.removeprefix(SEPARATOR) in known
        units.append((unit, learned))
        opening, ended = (unit, False) if is_token else ("", learned)
    grouped = groupby(units, key=lambda unit: unit[1])
    return tuple(("".join(text for text, _ in some), learned) for learned, some in grouped)


def _plain_queries_learned(
    actions: Sequence[Action], profile: Mapping[str, str], now: float, known: Container[str]
) -> tuple[tuple[str, bool], ...]:
    """Return a plain history as pieces: known queries are learned, and the quotation mark that ends each."""
    pieces = [(plain_opening(profile), False)]
    for action, (told, text) in zip(actions, plain_acts(actions, now), strict=True):
        searched = action.type in QUERY_TYPES and field(text) in known
        pieces += [(f"\n{told}", False), (f'{text}"', searched)]
    return tuple(pieces)

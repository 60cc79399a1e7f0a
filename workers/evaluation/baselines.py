"""All baselines, tuned on the validation part: as hard as ours, and each with the same rules."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from workers.evaluation.cases import Case, Split
from workers.evaluation.co_click import CoClick
from workers.evaluation.embedding import Embedding
from workers.evaluation.factors import Als, Bm25Cf
from workers.evaluation.methods import DEPTH, Baseline, Fill, Lists, Tuned, tune
from workers.evaluation.popular import Popular, PopularBySegment
from workers.evaluation.repeat import Repeat, RepeatAndCoClick
from workers.evaluation.text import Bm25Text
from workers.evaluation.things import Things

NAMES: Final = tuple(
    one.name for one in (Popular, PopularBySegment, Repeat, CoClick, RepeatAndCoClick, Als, Bm25Cf, Bm25Text, Embedding)
)


def tuned_baselines(split: Split, seed: int, advance: Callable[[str, int], None]) -> Iterator[Tuned]:
    """Yield each baseline tuned; `advance` hears its name and its number of parameter sets, after each set."""

    def tuned(baseline: Baseline, fill: Fill | None) -> Tuned:
        return tune(baseline, split.validation, fill, lambda: advance(baseline.name, len(baseline.grid)))

    yield tuned(Popular(split), None)
    by_segment = PopularBySegment(split)
    segment = tuned(by_segment, None)
    yield segment

    def fill(cases: Sequence[Case], novel: bool) -> Lists:  # noqa: FBT001
        return segment.suggest(cases, DEPTH, novel=novel)

    yield tuned(Repeat(split), fill)
    co_click = CoClick(split, lambda shopper: by_segment.shares(shopper, segment.params))
    alone = tuned(co_click, fill)
    yield alone
    yield tuned(RepeatAndCoClick(split, co_click, (alone.params, alone.novel_params)), fill)
    things = Things(split)
    yield tuned(Als(split, things, seed), fill)
    yield tuned(Bm25Cf(split, things), fill)
    yield tuned(Bm25Text(split, things), fill)
    yield tuned(Embedding(split, things, seed), fill)

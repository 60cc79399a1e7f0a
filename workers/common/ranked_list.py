"""A shopper's list in the order of the ranker of next searches: what the model wrote and what counts and words find."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import orjson

from service.contracts.codecs import ScoredQuery
from service.contracts.errors import ArtefactError, ConfigError
from service.contracts.settings import CTR_WEIGHT
from service.contracts.text import near_key
from service.ranking.filter import reject_reason
from service.ranking.merge import ranked_score
from service.ranking.shopper_context import ShopperContext
from workers.common.list_parser import LIST_SIZE
from workers.common.prompt import CANDIDATES_KEY, LINE_TOKEN_KEY, PLAIN_KEY, TAUGHT


class Ranker(Protocol):
    """What orders candidates: `service.ranking.next_search.NextSearch`."""

    def chances(self, context: ShopperContext, generated: Sequence[str] = ()) -> dict[str, float]:
        """Return candidates, likeliest first, with the chance that each is searched next."""
        ...

    def chances_with(
        self, context: ShopperContext, generated: Sequence[str], found: Mapping[str, float]
    ) -> dict[str, float]:
        """Return `chances` with `generated`, knowing what was `found` for this context without them."""
        del found
        return self.chances(context, generated)

    def shortlist(self, context: ShopperContext, ranked: Iterable[str], limit: int) -> list[str]:
        """Return the first `limit` of the `ranked` queries that a prompt may tell a model."""
        ...

    def ordered(self, context: ShopperContext, chances: Mapping[str, float]) -> Mapping[str, float]:
        """Return the `chances` in the order in which a list shows them."""
        del context
        return chances


def ranked_list(
    chances: Mapping[str, float], refuses: Callable[[str], str | None], exclude: Collection[str] = ()
) -> tuple[ScoredQuery, ...]:
    """Return the first `LIST_SIZE` queries of `chances` (best first) that may be shown, no two alike.

    None is like a query in `exclude`, and `refuses` has no reason against any. See `Ranker.ordered`.
    """
    seen = {near_key(query) for query in exclude}
    queries: list[str] = []
    for query in chances:
        key = near_key(query)
        if key in seen or reject_reason(query) is not None or refuses(query) is not None:
            continue
        seen.add(key)
        queries.append(query)
        if len(queries) == LIST_SIZE:
            break
    return tuple(ScoredQuery(query, ranked_score(rank)) for rank, query in enumerate(queries))


def ranker_beside(model: Path) -> Path:
    """Return where the ranker of next searches that goes with a checkpoint lies (`aigq train all`)."""
    return model.with_name(f"{model.name}-ranker")


def shipped_ranker(model: Path) -> Path | None:
    """Return `ranker_beside` a checkpoint, if it is there."""
    beside = ranker_beside(model)
    return beside if beside.exists() else None


def shipped_ctr(model: Path) -> Path | None:
    """Return the CTR ranker that goes with a checkpoint (`aigq train all`), if it is there."""
    beside = model.with_name(f"{model.name}-ctr")
    return beside if beside.exists() else None


def ranking_settings(model: Path, ranker: Path | None) -> dict[str, str]:
    """Return the environment of a worker that ranks by `ranker`, if any, and tells as was taught to a checkpoint.

    With the CTR ranker beside the checkpoint, lists lean towards clicks. Penalties are as the checkpoint needs them.
    """
    penalties = {f"AIGQ_VLLM_{name.upper()}": str(value) for name, value in penalties_of(model).items()}
    if ranker is None:
        return penalties
    ctr = shipped_ctr(model)
    return {
        **penalties,
        "AIGQ_DIRECT_RANKER": str(ranker),
        "AIGQ_DIRECT_CANDIDATES": str(candidates_taught(model)),
        **({} if ctr is None else {"AIGQ_DIRECT_CTR": str(ctr)}),
    }


def candidates_taught(model: Path) -> int:
    """Return how many candidates prompts told when a checkpoint or adapter was taught; 0 if it was taught otherwise.

    Raises:
        ArtefactError: its config.json (an adapter's aigq.json) is missing or broken.
    """
    return _config(model, CANDIDATES_KEY)


def plain_taught(model: Path) -> bool:
    """Return whether prompts told shoppers in plain language when a checkpoint or adapter was taught.

    Raises:
        ArtefactError: its config.json (an adapter's aigq.json) is missing or broken.
    """
    return bool(_config(model, PLAIN_KEY))


def penalties_of(model: Path) -> dict[str, float]:
    """Return the settings of `vllm` that a checkpoint or adapter needs otherwise: none where a line's end is a token.

    Raises:
        ArtefactError: its config.json (an adapter's aigq.json) is missing or broken.
    """
    return dict.fromkeys(("presence_penalty", "frequency_penalty"), 0.0) if _config(model, LINE_TOKEN_KEY) else {}


def _config(model: Path, key: str) -> int:
    file = model / TAUGHT
    if not file.exists():
        file = model / "config.json"
    try:
        return int(orjson.loads(file.read_bytes()).get(key, 0))
    except (OSError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"{file}: is not a checkpoint's ({error}); name a directory that aigq train wrote"
        ) from None


def open_ranker(folder: Path, ctr: Path | None = None, ctr_weight: float = CTR_WEIGHT) -> Ranker:
    """Open the ranker that `aigq train ranker` wrote to `folder`, and the one of clicks (`aigq train ctr`), if any.

    Raises:
        ArtefactError: one is missing, cut short or of another release, or `ctr` is the one that judges.
        ConfigError: a library that they need is not installed.
    """
    try:
        # Only who ranks needs LightGBM and numpy.
        from service.ranking.next_search import NextSearch  # noqa: PLC0415
        from workers.common.click_order import open_click_aware  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"a ranker needs {error.name}; install it with: pip install 'aigq[rank]'") from None
    return NextSearch.open(folder) if ctr is None else open_click_aware(folder, ctr, ctr_weight)

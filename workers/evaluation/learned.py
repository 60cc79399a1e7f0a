"""A catalogue artefact as serving would have it at the cut-off: built from what may be learned and nothing else."""

from pathlib import Path

import polars as pl

from service.contracts.codecs import QUERY_TYPES
from service.ranking.catalogue import Catalogue
from workers.common import artefacts
from workers.common.dataset import EVENTS, ITEMS, PROFILES, Dataset
from workers.evaluation.cases import Split


def catalogue(dataset: Dataset, split: Split, folder: Path) -> Catalogue:
    """Build the artefact of what the learners did under `folder` and open it; close it when done."""
    source = folder / "learned"
    (source / EVENTS).mkdir(parents=True)
    rows = [
        (shopper.user_id, act.ts, act.type, *((act.ref, None) if act.type in QUERY_TYPES else (None, act.ref)))
        for shopper in split.learners
        for act in shopper.history
    ]
    schema = {"user_id": pl.String, "ts": pl.Float64, "type": pl.String, "query": pl.String, "item_id": pl.String}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(source / EVENTS / "part-00000.parquet")
    dataset.items().write_parquet(source / ITEMS)
    dataset.profiles().write_parquet(source / PROFILES)
    artefacts.build(source, folder / "artefacts")
    return Catalogue.open(folder / "artefacts")

"""Lists in the order of a ranker: what may be shown, likeliest first."""

from pathlib import Path

import pytest
from hypothesis import given

from service.contracts.errors import ArtefactError
from service.contracts.text import near_key
from service.ranking.merge import rank_score
from tests.support import QUERIES
from workers.common.list_parser import LIST_SIZE
from workers.common.ranked_list import (
    candidates_taught,
    open_ranker,
    penalties_of,
    plain_taught,
    ranked_list,
    ranking_settings,
)


def test_what_may_not_be_shown_is_left_out() -> None:
    """Near-duplicates, what was just searched, what finds nothing, and what the output filter rejects."""
    chances = dict.fromkeys(["tent", "tents", "lamps", "zzz", "a@b.example", "stove"], 0.1)
    found = ranked_list(chances, {"zzz": "finds_nothing"}.get, ["lamp"])
    assert [one.query for one in found] == ["tent", "stove"]


@given(QUERIES, QUERIES)
def test_a_list_is_short_distinct_and_in_order(queries: list[str], exclude: list[str]) -> None:
    """Whatever is ranked; and its scores lead those of a list that nobody ranked."""
    found = ranked_list(dict.fromkeys(queries, 0.5), lambda _: None, exclude)
    keys = [near_key(one.query) for one in found]
    assert len(found) <= LIST_SIZE
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {near_key(query) for query in exclude}
    assert [queries.index(one.query) for one in found] == sorted(queries.index(one.query) for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.score > rank_score(0) for one in found)


def test_a_directory_that_is_no_ranker(tmp_path: Path) -> None:
    """The message names the file and the command that makes one."""
    with pytest.raises(ArtefactError, match=r"meta\.json: missing; .*aigq train ranker"):
        open_ranker(tmp_path)


def test_a_checkpoint_says_what_prompts_it_was_taught_by(tmp_path: Path) -> None:
    """One that says nothing was taught without candidates, by our tokens or not at all; no checkpoint is named."""
    file = tmp_path / "config.json"
    for content, told in (('{"aigq_candidates": 20, "aigq_plain": true}', (20, True)), ("{}", (0, False))):
        file.write_text(content, encoding="utf-8")
        assert (candidates_taught(tmp_path), plain_taught(tmp_path)) == told
    file.write_text("[]", encoding="utf-8")
    for ask in (candidates_taught, plain_taught):
        with pytest.raises(ArtefactError, match=r"config\.json: is not a checkpoint's"):
            ask(tmp_path)


def test_lists_whose_lines_end_in_a_token_are_not_penalised(tmp_path: Path) -> None:
    """A penalty on what was written would forbid the second line's end; regression: such lists had one line or two."""
    (tmp_path / "config.json").write_text('{"aigq_line_token": true}', encoding="utf-8")
    assert penalties_of(tmp_path) == {"presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert ranking_settings(tmp_path, None) == {
        "AIGQ_VLLM_PRESENCE_PENALTY": "0.0",
        "AIGQ_VLLM_FREQUENCY_PENALTY": "0.0",
    }
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert penalties_of(tmp_path) == {}, "as the settings say"

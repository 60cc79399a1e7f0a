"""What the report promises: cases and hits, figures, exact replay, oracles that are bounds, and a page of its own."""

import math
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.contracts.errors import ArtefactError
from workers.common.dataset import Dataset
from workers.common.split import cut_off, part_of
from workers.shop.commands import app
from workers.shop.draws import Draws, Stream
from workers.shop.report import make as module
from workers.shop.report.baselines import Baselines, first_distinct
from workers.shop.report.belief import Belief, Beliefs
from workers.shop.report.cases import AHEAD, SUGGESTED, Act, Life, hit, hit_rate, lives
from workers.shop.report.figures import measure, slope
from workers.shop.report.published import COMPARISONS, FINDINGS
from workers.shop.report.replay import branch, replay
from workers.shop.report.rollouts import cover, future
from workers.shop.world import World


def _life(user_id: str, *queries: str, after: tuple[str, ...] = ()) -> Life:
    acts = [Act(float(n), "search", query, None) for n, query in enumerate(queries)]
    return Life(user_id, "students", "en-US", acts, list(after))


def _lives(dataset: Dataset) -> list[Life]:
    return list(lives(dataset.scan_events().collect(), dataset.profiles(), cut_off(dataset.manifest), frozenset()))


def test_a_hit_is_word_for_word_after_normalisation() -> None:
    """Case and spaces do not matter, the seventh suggestion does not count."""
    life = _life("s1", after=("dome tent",))
    assert hit(["Dome  Tent"], life.after)
    assert not hit(["tent"], life.after)
    assert not hit([*"abcdef", "dome tent"], life.after)


def test_cases_are_those_of_the_evaluation() -> None:
    """Of the part test; cold with two acts or fewer; novel is what was never searched, in any spelling of it."""
    users = [f"s{n:08}" for n in range(60)]
    cases = [user for user in users if _life(user, after=("tent",)).is_case]
    assert cases == [user for user in users if part_of(user) == "test"]
    assert not _life(cases[0]).is_case
    life = _life("me", "Dome  Tent", "stove", after=("dome tent", "lamp"))
    assert life.cold
    assert life.novel == ["lamp"]
    assert not _life("me", "a", "b", "c").cold


def test_cases_split_at_the_cut_off(dataset: Dataset) -> None:
    """What a method may see ends before the cut-off; at most three searches after it count; bots are no cases."""
    cut, events = cut_off(dataset.manifest), dataset.scan_events().collect()
    found = _lives(dataset)
    assert {life.user_id for life in found} == set(events["user_id"])
    assert all(act.ts < cut for life in found for act in life.before)
    later = events.filter((pl.col("type") == "search") & (pl.col("ts") >= cut))
    for life in found:
        searched = later.filter(pl.col("user_id") == life.user_id)["query"].to_list()
        assert life.after == searched[:AHEAD]
    bot = found[0].user_id
    assert bot not in {life.user_id for life in lives(events, dataset.profiles(), cut, frozenset([bot]))}


@given(st.lists(st.booleans(), min_size=1))
def test_interval_holds_the_rate(hits: list[bool]) -> None:
    """A hit rate lies within its interval, and the interval within [0, 1]."""
    found = hit_rate(hits, np.random.default_rng(1))
    assert 0 <= found.low <= found.rate <= found.high <= 1


def test_no_cases_no_rate() -> None:
    """Without cases there is no number that looks like one."""
    assert math.isnan(hit_rate([], np.random.default_rng(1)).rate)


def test_baselines_learn_what_they_say() -> None:
    """Popular counts shoppers, repeat is newest first, co-click follows others; all fill up with popular queries."""
    others = [_life(f"s{n}", "tent", "sleeping bag") for n in range(3)]
    me = _life("me", "camp stove", "tent")
    learnt = Baselines.learn([*others, me])
    assert learnt.popular(me)[0] == "tent"
    assert learnt.repeat(me, me.searched) == ["sleeping bag"]
    assert learnt.repeat(me) == ["tent", "camp stove", "sleeping bag"]
    assert learnt.co_click(_life("new", "tent"))[0] == "sleeping bag"
    assert learnt.co_click(_life("nobody")) == learnt.popular(me)


@given(st.lists(st.lists(st.text("ab ", min_size=1))))
def test_suggestions_are_distinct_and_six_at_most(lists: list[list[str]]) -> None:
    """Near or far, no list repeats a query."""
    found = first_distinct(*lists)
    assert len(found) == len(set(found)) <= SUGGESTED


def test_slope_of_a_power_law() -> None:
    """The fit gives back the exponent of a true power law."""
    frequencies = np.round(1e6 * np.arange(1, 5000) ** -0.8)
    assert slope(frequencies) == pytest.approx(-0.8, abs=0.01)
    assert math.isnan(slope(np.array([1.0, 1.0])))


def test_figures_of_the_sample(dataset: Dataset) -> None:
    """Shares are shares, clicks fall with the slot's number or stay, and every comparison can be computed."""
    figures = measure(dataset.scan_events().collect(), dataset.items(), dataset.manifest["shoppers"])
    for share in (figures.once_share, figures.repeat_share, figures.cold_share, *figures.ctr_by_position):
        assert 0 <= share <= 1
    assert figures.repeat_in_other_session <= figures.repeat_share
    assert sum(figures.frequencies) == figures.searches
    assert len(figures.ctr_by_position) == 3
    assert all(math.isfinite(row.ours(figures)) for row in COMPARISONS)
    assert all(row.ours(figures) for row in FINDINGS)
    assert all(row.source.url.startswith("http") for row in (*COMPARISONS, *FINDINGS))


def test_replay_repeats_every_life(dataset: Dataset, world: World) -> None:
    """Played again, shoppers search exactly what the logs say, and stand where the visit asked for begins."""
    cases = [life for life in _lives(dataset) if life.after]
    played = replay(dataset, dataset.manifest["shoppers"], {life.user_id: life.visit for life in cases}, world.shop)
    logged = dataset.scan_events().filter(pl.col("type") == "search").collect()
    for (user_id,), rows in logged.group_by("user_id"):
        assert played.searches[str(user_id)] == rows["query"].to_list()
    assert set(played.moments) == {life.user_id for life in cases}
    for life in cases:
        moment = played.moments[life.user_id]
        assert moment.shopper.sessions + 1 == life.visit
        assert all(ts <= moment.ts for ts in moment.shopper.searched.values())


def test_a_branch_leaves_the_shopper_alone(dataset: Dataset, world: World) -> None:
    """An imagined future changes nothing of the state that it starts from, and equal draws give equal futures."""
    cases = [life for life in _lives(dataset) if life.after][:5]
    played = replay(dataset, int(cases[-1].user_id[1:]), {life.user_id: life.visit for life in cases}, world.shop)
    visits = played.world.visits(played.policy)
    for shopper, ts in played.moments.values():
        needs = [(need.step, need.strength, list(need.values), need.last) for need in shopper.needs]
        told = [future(visits, branch(shopper, Draws(1, Stream.ORACLE, 1)), ts) for _ in range(2)]
        assert told[0] == told[1]
        assert needs == [(need.step, need.strength, list(need.values), need.last) for need in shopper.needs]


def test_a_thread_of_another_market_is_no_interest(world: World) -> None:
    """A Chinese shopper may have asked for what only the English part sells: beliefs go on without an area for it."""
    beliefs = Beliefs(world)
    sold = {group for locale, group in beliefs.groups if locale == "zh-CN"}
    item = next(item for item in world.shop.items() if item.category.group not in sold)
    shopper = Life("s1", "students", "zh-CN", [Act(1.0, "click", None, item.id)] * 9)
    draws = Draws(1, Stream.ORACLE, 1)
    profile = next(one for one in iter(lambda: world.people.draw(draws, 1.0), None) if one.locale == "zh-CN")
    belief = Belief(beliefs, shopper, profile, 10.0, {})
    areas = [interest for _ in range(20) for interest in belief.draw(draws).interests]
    assert areas
    assert all(category.group in sold for interest in areas for category in interest.categories)


def test_cover_prefers_what_hits_more_futures() -> None:
    """Each query is chosen for the futures that the ones before it miss; what one future alone holds is left out."""
    assert cover([{"a", "b"}, {"a", "b"}, {"a"}, {"c"}, {"c"}, {"d"}]) == ["a", "c"]
    assert cover([]) == []


def test_another_shop_is_refused(dataset: Dataset, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that this shop did not make cannot be played again, and the message says what to do."""
    monkeypatch.setitem(dataset.manifest, "shop_hash", "0" * 32)
    with pytest.raises(ArtefactError, match="generate it again"):
        replay(dataset, 1, {}, world.shop)


def test_report_command(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line is JSON with the promised fields, and the page needs no other file."""
    monkeypatch.setattr(module, "speed", lambda *_: 20_000.0)
    out = tmp_path / "report"
    arguments = ["report", str(dataset.root), "--out", str(out), "--cases", "40", "--futures", "20", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    figures = orjson.loads(result.stdout.splitlines()[-1])
    for name in ("events_per_s", "distinct_queries", "zipf_slope", "ctr_by_position", "cold_share"):
        assert name in figures
    assert {"popular", "repeat", "co_click"} <= set(figures["baselines"])
    best = max(found["hr@6"] for found in figures["baselines_on_oracle_cases"].values())
    assert best < figures["oracle"]["hr@6"] < 1
    for view in ("cold", "novel"):
        found = figures[view]
        assert 0 < found["cases"] <= figures["oracle_cases"]
        assert set(found["methods"]) == {*figures["baselines"], "oracle_visible", "oracle"}
    assert figures["novel"]["methods"]["oracle"]["hr@6"] > figures["novel"]["methods"]["repeat"]["hr@6"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert 'src="http' not in page
    assert len(list(out.glob("*.png"))) == 6


def test_report_names_what_is_missing(tmp_path: Path) -> None:
    """A directory that is no dataset ends in one line that says so."""
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 1
    assert "manifest.json: missing" in result.output

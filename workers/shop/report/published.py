"""Published figures of real logs, and whether ours resemble them.

Each source names where the figure was read: mostly abstracts and dataset cards, not whole papers. No figure is fitted.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from workers.shop.report.figures import Figures


class Source(NamedTuple):
    """Where a published figure stands."""

    name: str
    url: str


class Comparison(NamedTuple):
    """A published figure (`low` to `high`, in the unit of ours) and how to get ours. `note`: why they may differ."""

    what: str
    published: str
    ours: Callable[[Figures], float]
    low: float
    high: float
    source: Source
    note: str

    def resembles(self, figures: Figures) -> bool:
        """Whether ours lies within the published range, widened by a fifth on both sides."""
        ours, slack = self.ours(figures), 0.2
        return self.low - slack * abs(self.low) <= ours <= self.high + slack * abs(self.high)


ALTAVISTA = Source(
    "Silverstein et al. 1999, Analysis of a Very Large Web Search Engine Query Log (AltaVista), in a summary",
    "https://study.space/p/Analysis_of_a_very_large_web_search_engine_query_log",
)
YAHOO = Source(
    "Teevan et al. on Yahoo's logs, as Wikipedia's 'Web search query' quotes them, in a copy",
    "https://issuhub.com/view/index/5888?pageIndex=244",
)
LOCALITY = Source(
    "Xie and O'Hallaron 2002, Locality in Search Engine Queries (two engines), abstract",
    "https://doi.org/10.1109/INFCOM.2002.1019374",
)
TASKS = Source(
    "Multi-tasking Product Information Search Sessions 2016 (8,949 queries, 3,483 sessions), abstract",
    "https://sciendo.com/article/10.20309/jdis.201621",
)
OTTO = Source("OTTO Recommender Systems Dataset, training part", "https://github.com/otto-de/recsys-dataset")
RETAILROCKET = Source(
    "Retailrocket recommender system dataset, 4.5 months",
    "http://thetazero.com/datasets/retailrocket-recommender-system-dataset",
)
CASCADE = Source(
    "Craswell et al. 2008, An experimental comparison of click position-bias models, abstract",
    "https://doi.org/10.1145/1341531.1341545",
)
RHYTHM = Source(
    "Halfaker et al. 2015, User Session Identification Based on Inter-activity Time, abstract",
    "https://arxiv.org/abs/1411.2878",
)
POWER_LAW = Source(
    "Petersen et al. 2016, Power Law Distributions in Information Retrieval, abstract",
    "https://doi.org/10.1145/2816815",
)
PROFILING = Source(
    "Yan et al. 2017, Profiling Users by Online Shopping Behaviors (2 million users), abstract",
    "https://doi.org/10.1007/s11042-017-5365-7",
)

COMPARISONS: Final = (
    Comparison(
        "queries a session", "2.57 (shop), 2.02 (web)", lambda f: f.queries_per_session, 2.02, 2.57, TASKS,
        "AltaVista's sessions end after 5 minutes without a request; ours are visits.",
    ),
    Comparison(
        "sessions with one query", "77% (web)", lambda f: f.one_query_sessions, 0.77, 0.77, ALTAVISTA,
        "Shoppers compare: a need is asked for in several ways, and a visit may hold several needs.",
    ),
    Comparison(
        "searches that the shopper made before", "33% (web, one year)", lambda f: f.repeat_share, 0.33, 0.33, YAHOO,
        "Ours are 30 days, and a shop has no navigational queries; so fewer.",
    ),
    Comparison(
        "searches that the same shopper repeats", "16% to 22% (web)", lambda f: f.repeat_share, 0.16, 0.22, LOCALITY,
        "The measure nearest to ours: the same user, the same words.",
    ),
    Comparison(
        "searches that ask one of the top 25 queries", "1.5% (web)", lambda f: f.head_share, 0.015, 0.015, ALTAVISTA,
        "A shop has far fewer things to ask for than the web.",
    ),
    Comparison(
        "slope of frequency over rank", "-1 (Zipf's law)", lambda f: f.zipf_slope, -1.0, -1.0, LOCALITY,
        "The source says Zipf, without a slope. Our head is flatter: no category outweighs the others as "
        "navigational queries do on the web. Beyond rank 1,000 ours comes near -1.",
    ),
    Comparison(
        "carts a click", "8.7%", lambda f: f.carts_per_click, 0.087, 0.087, OTTO,
        "Set to it.",
    ),
    Comparison(
        "purchases a click", "2.6%", lambda f: f.purchases_per_click, 0.026, 0.026, OTTO,
        "Ours is higher: 30 days then hold enough purchases for complements to show. OTTO counts ordered articles.",
    ),
    Comparison(
        "clicks, carts and purchases a shopper", "16.8", lambda f: f.item_acts, 16.8, 16.8, OTTO,
        "Of shoppers with two or more, as OTTO counts. OTTO's median is 6: its shoppers are more unequal.",
    ),
)  # fmt: skip


class Finding(NamedTuple):
    """A published finding that is a shape, not a number, and what ours does."""

    what: str
    published: str
    ours: Callable[[Figures], str]
    source: Source


FINDINGS: Final = (
    Finding(
        "rank and frequency", "query frequency is best approximated by a power law",
        lambda f: f"{f.once_share:.0%} of the distinct queries occur once; the curve is concave, not one straight line",
        POWER_LAW,
    ),
    Finding(
        "time between acts", "clusters of activity, parted by about one hour",
        lambda f: f"{f.gaps_under_hour:.0%} of the gaps are under an hour, half under {f.median_gap_s:.0f} s; "
        "the valley, empty, is at 20 minutes: visits are at least 30 minutes apart by construction",
        RHYTHM,
    ),
    Finding(
        "clicks by position", "a cascade explains early ranks best: read from the top, leave at the first good one",
        lambda f: "a cascade by construction; CTR " + ", ".join(f"{ctr:.1%}" for ctr in f.ctr_by_position),
        CASCADE,
    ),
    Finding(
        "shoppers who leave next to nothing", "1.96 events a visitor on average",
        lambda f: f"{f.cold_share:.0%} have two acts or fewer; there most must; a visitor there is a browser",
        RETAILROCKET,
    ),
    Finding(
        "categories a shopper", "groups of users prefer certain categories and come back to them",
        lambda f: f"{f.entropy_bits:.1f} bits on average (all leaf categories alike would be over 7)",
        PROFILING,
    ),
)  # fmt: skip

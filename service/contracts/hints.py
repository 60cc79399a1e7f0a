"""What the hints endpoint is asked and what it answers (DESIGN section 3)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from service.contracts.codecs import Origin
from service.contracts.events import Action, Query, UserId

Source = Literal["u2q", "x2q", "co_click", "text", "popular"]
MAX_HINTS = 50
DEFAULT_HINTS = 10
FINDS_COUNTED = 100

ProfileFields = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], Query],
    Field(max_length=20, description="flat string fields, for example segment, budget, region"),
]


def _or_nothing(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Take what cannot be for nothing: a broken link from elsewhere is no reason for a page without hints."""
    try:
        return check(value)
    except ValidationError:
        return None


ContextValue = Annotated[Query | None, WrapValidator(_or_nothing)]
ReferrerQuery = Annotated[
    Query | None,
    WrapValidator(_or_nothing),
    Field(
        description="search elsewhere, or the campaign, that led to this visit; on its first page. Never echoed",
        examples=["two person tent"],
    ),
]


class Hint(BaseModel):
    """One suggested query."""

    query: str
    source: Source
    score: float = Field(description="comparable within one answer only")
    trigger: str | None = Field(None, description="why: the item, category or query that led here")


class Features(BaseModel):
    """What the score of a candidate is made of: weight x written, and what like ones (`merged`) brought."""

    weight: float = Field(description="of its source, and of its trigger's place among the latest")
    written: float = Field(description="score in its list: the model's, the ranker's or the rank's")
    rank: int = Field(description="place in its list, from 0")
    trigger_age_s: float | None = Field(None, description="since the shopper did what led here")
    seen: int | None = Field(None, description="times seen and not clicked since; null if Redis did not say")
    category: str | None = Field(None, description="of most items that the query finds")
    finds: int = Field(description=f"items that the query finds, counted up to {FINDS_COUNTED}")


class ExplainedHint(Hint):
    """A candidate; `dropped` says why it is not shown (null: it is)."""

    dropped: str | None = None
    into: str | None = Field(None, description="if `merged` or `duplicate`: the like query that stands for it")
    origin: Origin | None = Field(None, description="of source u2q: who put the query into the shopper's list")
    features: Features


class Explanation(BaseModel):
    """How an answer came about; only for who sends `service.explain_token`."""

    propensity: list[float] = Field(description="chance of what each slot shows, given what was recalled")
    triggers: list[str] = Field(description="what the shopper did last, newest first")
    candidates: list[ExplainedHint]


class HintsResponse(BaseModel):
    """The answer; `hints` may be shorter than asked for, never padded."""

    request_id: str = Field(description="echo it in hint_exposure and hint_click events")
    hints: list[Hint] = Field(description="best first; a search box rotates them three at a time, in this order")
    experiment: str = Field(description="arm that served this answer")
    degraded: list[str] = Field(description="sources that missed the deadline or are down")
    age_s: float | None = Field(description="age of the shopper's generated list; null if none was used")
    explained: Explanation | None = Field(None, description="with explain=true and the token, absent otherwise")


class InlineHintsRequest(BaseModel):
    """Hints for someone whose behaviour the front end keeps itself; nothing of it is stored."""

    model_config = ConfigDict(extra="forbid")
    user_id: UserId | None = None
    actions: list[Action] = Field(default_factory=list, max_length=50)
    profile: ProfileFields = Field(default_factory=dict)
    referrer_query: ReferrerQuery = None
    k: int = Field(DEFAULT_HINTS, ge=1, le=MAX_HINTS)
    budget_ms: int | None = Field(None, ge=1, le=1000)
    exclude: list[Query] = Field(default_factory=list, max_length=100)


class HintsParameters(BaseModel):
    """What `GET /v1/hints` is asked, as query parameters.

    `segment`, `region` and `locale` win over the shopper's profile; a value that nobody knows says nothing.
    """

    user_id: UserId | None = Field(None, examples=["u42"], description="without, hints from the context alone")
    segment: ContextValue = Field(None, examples=["young parent"], description="as in profiles")
    region: ContextValue = Field(None, examples=["north"], description="as in profiles")
    locale: ContextValue = Field(None, examples=["en-AU"], description="as in profiles; en-AU falls back to en")
    referrer_query: ReferrerQuery = None
    k: int = Field(DEFAULT_HINTS, ge=1, le=MAX_HINTS, examples=[6], description="how many hints, at most")
    budget_ms: int | None = Field(None, ge=1, examples=[40], description="lowers the deadline, never raises it")
    exclude: list[Query] = Field(
        default_factory=list, max_length=100, examples=[["tent", "sleeping bag"]], description="queries not to suggest"
    )
    explain: bool = Field(
        default=False, examples=[False], description="tell of every candidate; needs service.explain_token"
    )

    @property
    def profile(self) -> dict[str, str]:
        """What the caller says of the shopper, as profile fields."""
        told = (("segment", self.segment), ("region", self.region), ("locale", self.locale))
        return {field: value for field, value in told if value}


class ProfileUpdate(BaseModel):
    """A shopper's profile. Without consent, nothing of the shopper is kept or used."""

    model_config = ConfigDict(extra="forbid")
    fields: ProfileFields = Field(default_factory=dict)
    consent: bool = True


class RejectedEvent(BaseModel):
    """An event of a batch that was not taken."""

    index: int
    errors: list[str]


class EventsAccepted(BaseModel):
    """The good events are stored; the bad ones are named."""

    accepted: int
    rejected: list[RejectedEvent]

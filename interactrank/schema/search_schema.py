"""What the columns of a search log mean: the one description that all packages read.

A :class:`SearchSchema` names the columns of the events, items and users files, the features that the
towers see, the ID tables behind them, the history (IQP) and lexical cross features, and the heads that are
trained. It is written as YAML; every mistake in it is collected and reported at once.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name, near
from interactrank.schema import checks
from interactrank.schema.duration import parse_duration
from interactrank.schema.sections import (
    EventColumns,
    Feature,
    FeatureSet,
    Head,
    ItemColumns,
    SequenceFeature,
    UserColumns,
)
from interactrank.schema.tables import IdTable

__all__ = ["IqpFeature", "LexicalFeature", "SearchSchema"]


class IqpFeature(Config):
    """IQP_p(key) = C(p, key) / C(key): of the engagements after a key, the share that went to item p.

    Keys: ``query`` (the paper's), back-offs ``words``, ``trigrams`` and ``compact`` (the query without
    blanks), ``user``, and ``all`` (popularity). A request with several keys averages over them:
    ``arithmetic`` averages the shares of the keys that have a history; ``geometric`` averages over all keys
    the logarithm of (C(p, key) + 1 / N) / (C(key) + 1), N items, so that an item must go well with every
    word.

    Key ``history`` (each item s of the user's sequence) and ``history_query`` (those items of it that
    followed the same query) count users instead: U(p, s) engaged with both items, and ``cosine`` averages
    U(p, s) / sqrt(U(p) U(s)) over the items s. With ``over: queries`` it is the cosine of what led to the
    two items, of C(p, query) and C(s, query) over all queries.
    """

    key: Literal["query", "compact", "words", "trigrams", "user", "history", "history_query", "all"] = "query"
    engagement: Name | None = Field(
        None, description="an engagement, or a head: what its label counts; left out for the keys history"
    )
    window: str | None = Field(None, description="such as 90d; without it all of the past")
    segment: str | None = Field(None, description="a column of segments: count within the user's own segment")
    average: Literal["arithmetic", "geometric", "cosine"] = "arithmetic"
    over: Literal["users", "queries"] = Field(
        "users",
        description="of a cosine: what led to both items, the same users or the same queries",
    )

    @property
    def name(self) -> str:
        """Name of the feature, such as ``query_click_90d_country``."""
        parts = [self.key, self.engagement, self.window, self.segment]
        if self.average == "geometric":
            parts.append("geometric")
        if self.over == "queries":
            parts.append("over_queries")
        return "_".join(p for p in parts if p)

    @property
    def window_ms(self) -> int | None:
        """Length of the window in milliseconds; None for all of the past."""
        return None if self.window is None else parse_duration(self.window)

    @property
    def of_user_history(self) -> bool:
        """Whether the keys are items of the user's sequence."""
        return self.key in ("history", "history_query")

    def problems(self) -> list[str]:
        """The window must be a duration, and only several keys can be averaged."""
        found = []
        try:
            _ = self.window_ms
        except ValueError as error:
            found.append(f"window: {error}")
        if self.average == "geometric" and self.key not in ("words", "trigrams"):
            found.append(f"average: geometric needs a key with several values, not '{self.key}'")
        if self.average == "cosine" and not self.of_user_history:
            found.append(f"average: cosine goes with the keys history and history_query, not '{self.key}'")
        if self.of_user_history and self.average != "cosine":
            found.append(f"average: key {self.key} is averaged by cosine, not {self.average}")
        if self.over != "users" and self.average != "cosine":
            found.append(f"over: {self.over} goes with average: cosine")
        if self.of_user_history and self.engagement is not None:
            found.append(f"engagement: key {self.key} counts the sequence's events; leave engagement out")
        if not self.of_user_history and self.engagement is None:
            found.append(f"engagement: key {self.key} needs one to count")
        if self.of_user_history and self.window is not None:
            found.append(f"window: key {self.key} counts a user once, from the first time; leave window out")
        if self.of_user_history and self.segment is not None:
            found.append(f"segment: key {self.key} is the user's own; leave segment out")
        return found


class LexicalFeature(Config):
    """BM25 match of the query's text and the item's text."""

    columns: list[str] = Field(min_length=1, description="text columns of the items file")
    analyzer: Literal["words", "trigrams"] = "words"
    k1: float = Field(1.2, gt=0)
    b: float = Field(0.75, ge=0, le=1)

    @property
    def name(self) -> str:
        """Name of the feature, such as ``words_title``."""
        return "_".join([self.analyzer, *self.columns])


class SearchSchema(Config):
    """The description of a search log and of what the model sees of it."""

    events: EventColumns = Field(description="columns of the events file")
    items: ItemColumns = Field(description="columns of the items file")
    users: UserColumns | None = Field(None, description="columns of the users file, if there is one")
    features: FeatureSet = Field(description="inputs of the two towers")
    tables: dict[Name, IdTable] = Field(description="ID tables, by the names that features refer to")
    heads: list[Head] = Field(min_length=1, description="labels that the model predicts")
    label_weights: dict[Name, float] = Field(
        default_factory=dict,
        description="engagement -> weight of a candidate; the first that happened counts, else impression",
    )
    impression_weight: float = Field(1.0, gt=0, description="weight of a candidate without engagement")
    sequence: SequenceFeature | None = Field(None, description="the user sequence, if the model has one")
    iqp: list[IqpFeature] = Field(default_factory=list)
    lexical: list[LexicalFeature] = Field(default_factory=list)
    segments: dict[Name, Literal["events", "users"]] = Field(
        default_factory=dict, description="segment column -> file that has it"
    )
    exclude_repeats: bool = Field(
        False, description="rank without the items that the user already engaged with after the same query"
    )

    @property
    def head_names(self) -> list[str]:
        """Names of the heads, in the order of the label columns."""
        return [h.name for h in self.heads]

    @property
    def sequence_engagements(self) -> list[str]:
        """Engagements that enter the user sequence; their position is the action id."""
        if self.sequence is None:
            return []
        return self.sequence.engagements or list(self.events.engagements)

    @property
    def sequence_tables(self) -> set[str]:
        """ID tables that the user sequence reads; their rows are not pooled."""
        s = self.sequence
        names = [] if s is None else [s.item, s.query]
        features = [*self.features.request, *self.features.item]
        return {f.table for f in features if f.name in names and f.kind == "id" and f.table is not None}

    def head(self, name: str) -> Head:
        """Return the head of that name."""
        return next(h for h in self.heads if h.name == name)

    def feature(self, name: str) -> Feature:
        """Return the request or item feature of that name.

        Raises:
            KeyError: there is none.
        """
        for f in [*self.features.request, *self.features.item]:
            if f.name == name:
                return f
        raise KeyError(name)

    def problems(self) -> list[str]:
        """Return references between the sections that lead nowhere, and choices that exclude each other."""
        return [
            *checks.feature_problems(self),
            *checks.table_problems(self),
            *checks.engagement_problems(self),
            *checks.sequence_problems(self),
            *self._history_problems(),
            *checks.file_problems(self),
        ]

    def _history_problems(self) -> list[str]:
        found = []
        counted = [
            *self.events.engagements,
            *(h for h in self.head_names if h not in self.events.engagements),
        ]
        for i in self.iqp:
            if i.engagement is not None and i.engagement not in counted:
                found.append(f"iqp '{i.name}': no engagement '{i.engagement}'{near(i.engagement, counted)}")
            if i.segment is not None and i.segment not in self.segments:
                found.append(f"iqp '{i.name}': no segment '{i.segment}'{near(i.segment, self.segments)}")
            if i.key == "user" and self.events.user is None:
                found.append(f"iqp '{i.name}': key user needs events.user")
            if i.of_user_history and self.sequence is None:
                found.append(f"iqp '{i.name}': key {i.key} needs the section sequence")
            elif (i.key == "history_query" or i.over == "queries") and (
                self.sequence is not None and self.sequence.query is None
            ):
                found.append(f"iqp '{i.name}': needs sequence.query, the query of an event")
        for what, of in (("iqp", [i.name for i in self.iqp]), ("lexical", [x.name for x in self.lexical])):
            for name in sorted({n for n in of if of.count(n) > 1}):
                found.append(f"{what}: '{name}' is defined more than once")
        return found

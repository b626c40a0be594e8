"""What the columns of a search log mean: the one description that every room reads.

A :class:`SearchSchema` names the columns of the events, items and users files, the features that the
towers see, the ID tables behind them, the history (IQP) and lexical cross features, and the heads that are
trained. It is written as YAML; every mistake in it is collected and reported at once.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name, near
from interactrank.schema.tables import IdTable

__all__ = [
    "EventColumns",
    "Feature",
    "FeatureSet",
    "Head",
    "IqpFeature",
    "ItemColumns",
    "LexicalFeature",
    "SearchSchema",
    "SequenceFeature",
    "UserColumns",
    "parse_duration",
]

HOUR_MS = 3_600_000
MANAGED_ID_LIMIT = 1 << 62  # ids of managed tables are below it, see interactrank.modules.managed
_DURATION = re.compile(r"(\d+)\s*(h|d|w|y)")
_UNIT_MS = {"h": HOUR_MS, "d": 24 * HOUR_MS, "w": 7 * 24 * HOUR_MS, "y": 365 * 24 * HOUR_MS}


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as ``12h``, ``7d``, ``2w`` or ``1y`` (365 days).

    Example::

        >>> parse_duration("2d")
        172800000
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise ValueError(f"'{text}' is not a duration; write a positive number and h, d, w or y, such as 90d")
    return int(match[1]) * _UNIT_MS[match[2]]


class EventColumns(Config):
    """Columns of the events file: one row for each impression or engagement."""

    item: str = Field(description="item of the row")
    query: str = Field(description="text of the query")
    time: str = Field(description="time of the request (timestamp, or integer milliseconds since 1970, UTC)")
    user: str | None = Field(None, description="who searched")
    request: str | None = Field(
        None, description="rows of one request share it; without it (user, query, time) does"
    )
    event_time: str | None = Field(
        None, description="time of the engagement, where it is logged; without it the request's time"
    )
    session: str | None = None
    split: str | None = Field(None, description="column with the values train, validation, test")
    engagements: dict[Name, str] = Field(
        description="engagement -> column with its count (0 or more) in this row", min_length=1
    )
    impressions: bool = Field(
        False, description="True: rows without an engagement are items that were shown and passed over"
    )
    position: str | None = Field(None, description="rank at which the item was shown; orders the candidates")
    true_probability: str | None = Field(
        None, description="simulated logs only: the chance of an engagement, for the best reachable metric"
    )


class ItemColumns(Config):
    """Columns of the items file: one row for each item."""

    id: str


class UserColumns(Config):
    """Columns of the users file, where there is one: one row for each user."""

    id: str


class Feature(Config):
    """One input of a tower."""

    name: Name
    kind: Literal["id", "words", "trigrams", "number", "vector"] = Field(
        description="id: a value or a list of them; words, trigrams: parts of a text; number; vector: dense"
    )
    column: str
    table: Name | None = Field(None, description="ID table of an id, words or trigrams feature")
    file: Literal["events", "items", "users"] | None = Field(
        None, description="request features come from events or users, item features from items"
    )
    dim: int | None = Field(None, ge=1, description="width of a vector feature")

    @property
    def is_sparse(self) -> bool:
        """Whether the feature is looked up in an ID table."""
        return self.kind in ("id", "words", "trigrams")

    def problems(self) -> list[str]:
        """Table and dim go with some kinds only."""
        found = []
        if self.is_sparse and self.table is None:
            found.append(f"feature '{self.name}' of kind {self.kind} needs a table")
        if not self.is_sparse and self.table is not None:
            found.append(f"feature '{self.name}' of kind {self.kind} takes no table")
        if (self.kind == "vector") != (self.dim is not None):
            found.append(f"feature '{self.name}': dim goes with kind vector, and only there")
        return found


class FeatureSet(Config):
    """The inputs of the two towers."""

    request: list[Feature] = Field(default_factory=list)
    item: list[Feature] = Field(min_length=1)


class SequenceFeature(Config):
    """The user's last engagements before the request."""

    length: int = Field(100, ge=1, le=10_000)
    item: Name = Field(description="item feature (kind id) that represents an event's item")
    query: Name | None = Field(None, description="request feature (kind id) for the query of an event")
    engagements: list[Name] | None = Field(
        None, min_length=1, description="which engagements are events of a history; without it all of them"
    )
    end: Literal["request", "session", "day", "month"] = Field(
        "request", description="history ends before the request, or at the start of its session, day or month"
    )


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


class Head(Config):
    """A label that the model predicts: 1 if any of ``engagements`` happened and none of ``unless``."""

    name: Name
    engagements: list[Name] = Field(min_length=1)
    unless: list[Name] = Field(default_factory=list)
    weight: float = Field(1.0, gt=0, description="share of the head in the loss, before normalisation")


class SearchSchema(Config):
    """The whole description of a search log and of what the model sees of it."""

    events: EventColumns
    items: ItemColumns
    users: UserColumns | None = None
    features: FeatureSet
    tables: dict[Name, IdTable]
    heads: list[Head] = Field(min_length=1)
    label_weights: dict[Name, float] = Field(
        default_factory=dict,
        description="engagement -> weight of a candidate; the first that happened counts, else impression",
    )
    impression_weight: float = Field(1.0, gt=0, description="weight of a candidate without engagement")
    sequence: SequenceFeature | None = None
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
        """Engagements that are events of a user's history; their position is the action id."""
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
        """The head of that name."""
        return next(h for h in self.heads if h.name == name)

    def feature(self, name: str) -> Feature:
        """The request or item feature of that name."""
        for f in [*self.features.request, *self.features.item]:
            if f.name == name:
                return f
        raise KeyError(name)

    def problems(self) -> list[str]:
        """References between the sections that lead nowhere, and choices that cannot be."""
        return [
            *self._feature_problems(),
            *self._table_problems(),
            *self._engagement_problems(),
            *self._sequence_problems(),
            *self._history_problems(),
            *self._file_problems(),
        ]

    def _feature_problems(self) -> list[str]:
        found = []
        names = [f.name for f in [*self.features.request, *self.features.item]]
        for name in sorted({n for n in names if names.count(n) > 1}):
            found.append(f"features: '{name}' is defined more than once")
        late = self._known_too_late()
        for f in self.features.request:
            if f.file == "items":
                found.append(f"features.request '{f.name}': a request has no column of the items file")
            elif f.file != "users" and f.column in late:
                found.append(
                    f"features.request '{f.name}': column '{f.column}' ({late[f.column]}) is not known when "
                    "the search is made; a model that sees it cannot be used"
                )
        for f in self.features.item:
            if f.file not in (None, "items"):
                found.append(
                    f"features.item '{f.name}': an item feature comes from the items file, not {f.file}"
                )
        return found

    def _known_too_late(self) -> dict[str, str]:
        """Columns of the events file that tell the outcome of a request -> their role."""
        e = self.events
        roles = {e.item: "events.item", e.event_time: "events.event_time", e.split: "events.split"}
        roles |= {e.position: "events.position", e.true_probability: "events.true_probability"}
        roles |= {column: f"events.engagements.{name}" for name, column in e.engagements.items()}
        return {column: role for column, role in roles.items() if column is not None}

    def _table_problems(self) -> list[str]:
        found = []
        features = [*self.features.request, *self.features.item]
        for f in features:
            if f.table is not None and f.table not in self.tables:
                found.append(f"feature '{f.name}': no table '{f.table}'{near(f.table, self.tables)}")
        used = {f.table for f in features}
        for table in self.tables:
            if table not in used:
                found.append(f"tables: no feature uses '{table}'; remove it or name it in a feature")
        for table in sorted(self.sequence_tables):
            if table in self.tables and self.tables[table].pooling != "mean":
                found.append(
                    f"tables.{table}.pooling: the user sequence looks single rows up, nothing is pooled"
                )
            for f in features:
                if f.table == table and f.kind != "id":
                    found.append(
                        f"feature '{f.name}': table '{table}' is the user sequence's, where a value has one "
                        f"row; kind {f.kind} needs a table of its own"
                    )
        return found

    def _engagement_problems(self) -> list[str]:
        found = []
        known = self.events.engagements
        for where, wanted in [
            *((f"head '{h.name}'", [*h.engagements, *h.unless]) for h in self.heads),
            ("label_weights", list(self.label_weights)),
            ("sequence", self.sequence_engagements),
        ]:
            for e in wanted:
                if e not in known:
                    found.append(f"{where}: no engagement '{e}'{near(e, known)}")
        for name, weight in self.label_weights.items():
            if weight <= 0:
                found.append(f"label_weights.{name} is {weight}; it must be above 0")
        if len(set(self.head_names)) < len(self.heads):
            found.append("heads: two heads have the same name")
        return found

    def _sequence_problems(self) -> list[str]:
        found = []
        s = self.sequence
        if s is None:
            return []
        if self.events.user is None:
            found.append("sequence: needs events.user, the column of who searched")
        for key, name, side in (
            ("item", s.item, self.features.item),
            ("query", s.query, self.features.request),
        ):
            ids = [f.name for f in side if f.kind == "id"]
            if name is not None and name not in ids:
                which = "an item" if key == "item" else "a request"
                found.append(f"sequence.{key}: '{name}' is not {which} feature of kind id{near(name, ids)}")
        dims = {t: self.tables[t].dim for t in sorted(self.sequence_tables) if t in self.tables}
        if len(set(dims.values())) > 1:
            listed = ", ".join(f"{table} {dim}" for table, dim in dims.items())
            found.append(
                "sequence: the tables of its item and query lie in one collection, which has one dim, "
                f"not {listed}"
            )
        if s.end == "session" and self.events.session is None:
            found.append("sequence.end: session needs events.session, the column of the session")
        return found

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

    def _file_problems(self) -> list[str]:
        found = []
        late = self._known_too_late()
        for f in self.features.request:
            if f.file == "users" and self.users is None:
                found.append(f"features.request '{f.name}': file users needs the section users")
        for segment, file in self.segments.items():
            if file == "users" and self.users is None:
                found.append(f"segments.{segment}: file users needs the section users")
            if file == "events" and segment in late:
                found.append(f"segments.{segment}: the column ({late[segment]}) is not known when searching")
        if self.users is not None and self.events.user is None:
            found.append("users: needs events.user, to join the users file")
        if self.exclude_repeats and self.events.user is None:
            found.append("exclude_repeats: needs events.user")
        return found

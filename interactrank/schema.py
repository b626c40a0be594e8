"""What the columns of a search log mean: the one description that every room reads.

A :class:`SearchSchema` names the columns of the events, items and users files, the features that the
towers see, the ID tables behind them, the history (IQP) and lexical cross features, and the heads that are
trained. It is written as YAML; every mistake in it is collected and reported at once.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from interactrank.errors import UserError

HOUR_MS = 3_600_000
_DURATION = re.compile(r"(\d+)\s*(h|d|w|y)")
_UNIT_MS = {"h": HOUR_MS, "d": 24 * HOUR_MS, "w": 7 * 24 * HOUR_MS, "y": 365 * 24 * HOUR_MS}

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used; the message lists every mistake, one a line."""


class Config(BaseModel):
    """Base of all settings: unknown keys are refused and values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if self.is_sparse and self.table is None:
            raise ValueError(f"feature '{self.name}' of kind {self.kind} needs a table")
        if not self.is_sparse and self.table is not None:
            raise ValueError(f"feature '{self.name}' of kind {self.kind} takes no table")
        if (self.kind == "vector") != (self.dim is not None):
            raise ValueError(f"feature '{self.name}': dim goes with kind vector, and only there")
        return self


class FeatureSet(Config):
    """The inputs of the two towers."""

    request: list[Feature] = Field(default_factory=list)
    item: list[Feature] = Field(min_length=1)


class IdTable(Config):
    """An embedding table and how values become its rows.

    With ``ids: vocabulary`` the values met at least ``min_count`` times in training, at most ``max_rows``
    of them, get rows of their own; row 0 stands for all others. With ``ids: hash`` the row of a value is
    ``1 + hash(value) mod (rows - 1)`` and row 0 stands for a missing value.
    """

    dim: int = Field(ge=1)
    ids: Literal["vocabulary", "hash"] = "vocabulary"
    min_count: int = Field(1, ge=1)
    max_rows: int = Field(10_000_000, ge=2)
    rows: int | None = Field(None, ge=2, description="rows of a hashed table")
    pooling: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def _check(self) -> IdTable:
        if (self.ids == "hash") != (self.rows is not None):
            raise ValueError("rows goes with ids: hash, and only there (a vocabulary counts its own rows)")
        return self


class SequenceFeature(Config):
    """The user's last engagements before the request."""

    length: int = Field(100, ge=1, le=10_000)
    item: Name = Field(description="item feature (kind id) that represents an event's item")
    query: Name | None = Field(None, description="request feature (kind id) for the query of an event")
    engagements: list[Name] | None = Field(
        None, description="which engagements are events of a history; without it all of them"
    )
    end: Literal["request", "session", "day", "month"] = Field(
        "request", description="history ends before the request, or at the start of its session, day or month"
    )


class IqpFeature(Config):
    """IQP_p(key) = C(p, key) / C(key): of the engagements after a key, the share that went to item p.

    Keys: ``query`` (the paper's), back-offs ``words``, ``trigrams`` and ``compact`` (the query without
    blanks), ``user`` and ``history`` (each item of the user's sequence), and ``all`` (popularity).
    A request with several keys averages over them: ``arithmetic`` averages the shares of the keys that have
    a history; ``geometric`` averages over all keys the logarithm of (C(p, key) + 1 / N) / (C(key) + 1), N
    items, so that an item must go well with every word.
    """

    key: Literal["query", "compact", "words", "trigrams", "user", "history", "all"] = "query"
    engagement: Name
    window: str | None = Field(None, description="such as 90d; without it all of the past")
    segment: str | None = Field(None, description="a column of segments: count within the user's own segment")
    average: Literal["arithmetic", "geometric"] = "arithmetic"

    @property
    def name(self) -> str:
        """Name of the feature, such as ``query_click_90d_country``."""
        parts = [self.key, self.engagement, self.window, self.segment]
        if self.average == "geometric":
            parts.append("geometric")
        return "_".join(p for p in parts if p)

    @property
    def window_ms(self) -> int | None:
        """Length of the window in milliseconds; None for all of the past."""
        return None if self.window is None else parse_duration(self.window)

    @model_validator(mode="after")
    def _check(self) -> IqpFeature:
        _ = self.window_ms
        if self.average == "geometric" and self.key not in ("words", "trigrams", "history"):
            raise ValueError(f"average: geometric needs a key with several values, not '{self.key}'")
        return self


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

    def feature(self, name: str) -> Feature:
        """The request or item feature of that name."""
        for f in [*self.features.request, *self.features.item]:
            if f.name == name:
                return f
        raise KeyError(name)

    @model_validator(mode="after")
    def _check(self) -> SearchSchema:
        problems: list[str] = []
        say = problems.append
        request = {f.name: f for f in self.features.request}
        item = {f.name: f for f in self.features.item}
        names = [f.name for f in [*self.features.request, *self.features.item]]
        for name in sorted({n for n in names if names.count(n) > 1}):
            say(f"features: '{name}' is defined more than once")
        for f in self.features.request:
            if f.file == "items":
                say(f"features.request '{f.name}': a request has no column of the items file")
            if f.file == "users" and self.users is None:
                say(f"features.request '{f.name}': file users needs the section users")
        for f in self.features.item:
            if f.file not in (None, "items"):
                say(f"features.item '{f.name}': an item feature comes from the items file, not {f.file}")
        for f in [*self.features.request, *self.features.item]:
            if f.table is not None and f.table not in self.tables:
                say(f"feature '{f.name}': no table '{f.table}'{near(f.table, self.tables)}")
        used = {f.table for f in [*self.features.request, *self.features.item]}
        for table in self.tables:
            if table not in used:
                say(f"tables: no feature uses '{table}'; remove it or name it in a feature")

        known = self.events.engagements
        for where, wanted in [
            *((f"head '{h.name}'", [*h.engagements, *h.unless]) for h in self.heads),
            ("label_weights", list(self.label_weights)),
            *((f"iqp '{i.name}'", [i.engagement]) for i in self.iqp),
            ("sequence", self.sequence_engagements),
        ]:
            for e in wanted:
                if e not in known:
                    say(f"{where}: no engagement '{e}'{near(e, known)}")
        for weight_of, weight in self.label_weights.items():
            if weight <= 0:
                say(f"label_weights.{weight_of} is {weight}; it must be above 0")
        if len(set(self.head_names)) < len(self.heads):
            say("heads: two heads have the same name")
        if self.sequence is not None:
            s = self.sequence
            if self.events.user is None:
                say("sequence: needs events.user, the column of who searched")
            if s.item not in item or item[s.item].kind != "id":
                say(f"sequence.item: '{s.item}' is not an item feature of kind id{near(s.item, item)}")
            if s.query is not None and (s.query not in request or request[s.query].kind != "id"):
                say(
                    f"sequence.query: '{s.query}' is not a request feature of kind id{near(s.query, request)}"
                )
            if s.end == "session" and self.events.session is None:
                say("sequence.end: session needs events.session, the column of the session")
        for i in self.iqp:
            if i.segment is not None and i.segment not in self.segments:
                say(f"iqp '{i.name}': no segment '{i.segment}'{near(i.segment, self.segments)}")
            if i.key == "user" and self.events.user is None:
                say(f"iqp '{i.name}': key user needs events.user")
            if i.key == "history" and self.sequence is None:
                say(f"iqp '{i.name}': key history needs the section sequence")
        for what, of in (("iqp", [i.name for i in self.iqp]), ("lexical", [x.name for x in self.lexical])):
            for name in sorted({n for n in of if of.count(n) > 1}):
                say(f"{what}: '{name}' is defined more than once")
        for segment, file in self.segments.items():
            if file == "users" and self.users is None:
                say(f"segments.{segment}: file users needs the section users")
        if self.users is not None and self.events.user is None:
            say("users: needs events.user, to join the users file")
        if self.exclude_repeats and self.events.user is None:
            say("exclude_repeats: needs events.user")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def near(name: str, allowed: Mapping[str, Any] | Sequence[str]) -> str:
    """What to say after an unknown name: the nearest valid one, or all that are allowed."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; allowed: {', '.join(allowed)}" if allowed else ""


ConfigT = typing.TypeVar("ConfigT", bound=Config)


def parse_config(kind: type[ConfigT], values: Any, source: str = "config") -> ConfigT:
    """Validate plain values into settings of ``kind``.

    Raises:
        ConfigError: lists every mistake, each with its place and, for an unknown key, the nearest valid one.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected settings (key: value), found {type(values).__name__}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            place = ".".join(str(p) for p in e["loc"])
            if e["type"] == "extra_forbidden":
                fields = _fields_at(kind, e["loc"][:-1])
                lines.append(f"{place}: unknown key{near(str(e['loc'][-1]), fields)}")
            elif e["type"] == "missing":
                lines.append(f"{place}: required, but missing")
            elif e["type"] == "value_error":
                message = str(e["ctx"]["error"])
                lines += [f"{place}: {m}" if place else m for m in message.split("\n")]
            else:
                lines.append(f"{place}: {e['msg'][0].lower()}{e['msg'][1:]}, found {e['input']!r}"[:300])
        raise ConfigError(
            f"{source}: {len(lines)} problem{'s' * (len(lines) > 1)}\n"
            + "\n".join(f"  - {line}" for line in lines)
        ) from None


def _fields_at(kind: Any, path: Sequence[int | str]) -> list[str]:
    """Valid keys of the settings class found by following ``path`` through nested annotations."""
    for step in path:
        annotation = kind.model_fields[step].annotation if _is_config(kind) else _argument(kind)
        kind = _unwrap(annotation)
    return list(kind.model_fields) if _is_config(kind) else []


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _argument(kind: Any) -> Any:
    return typing.get_args(kind)[-1]


def _unwrap(annotation: Any) -> Any:
    """``X | None`` -> ``X``; ``Annotated[X, ...]`` -> ``X``."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _unwrap(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return _unwrap(next(a for a in typing.get_args(annotation) if a is not type(None)))
    return annotation


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``values`` with ``section.key=value`` settings (YAML values; list entries by number) applied.

    Example::

        >>> apply_overrides({"training": {"steps": 10}}, ["training.steps=20", "model.dim=8"])
        {'training': {'steps': 20}, 'model': {'dim': 8}}
    """
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(values)) or {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"override '{override}': write section.key=value, such as training.steps=100")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"override '{override}': the value is not valid YAML") from None
        *parents, last = path.split(".")
        at: Any = result
        try:
            for key in parents:
                at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
            at[int(last) if isinstance(at, list) else last] = value
        except (TypeError, ValueError, IndexError, AttributeError):
            raise ConfigError(f"override '{override}': the config has no place '{path}'") from None
    return result

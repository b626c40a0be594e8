"""The sections of a schema: columns of the files, features of the towers, the user sequence, heads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name
from interactrank.schema.candidate_features import CandidateFeature

__all__ = [
    "EventColumns",
    "Feature",
    "FeatureSet",
    "Head",
    "ItemColumns",
    "SequenceFeature",
    "UserColumns",
]


class EventColumns(Config):
    """Columns of the events file: one row for each impression or engagement."""

    item: str = Field(description="id of the item")
    query: str = Field(description="text of the query")
    time: str = Field(description="time of the request: timestamp, or a number since 1970 (UTC)")
    user: str | None = Field(None, description="who searched")
    request: str | None = Field(
        None, description="rows of one request share it; without it (user, query, time) does"
    )
    event_time: str | None = Field(
        None, description="time of the engagement, if it is logged; without it the request's time"
    )
    time_unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None,
        description="unit of time and event_time if they are numbers since 1970; without it, told by size",
    )
    session: str | None = Field(None, description="session of the request")
    split: str | None = Field(None, description="column with the values train, validation, test")
    engagements: dict[Name, str] = Field(
        description="engagement -> column with its count (0 or more) in this row", min_length=1
    )
    impressions: bool | str = Field(
        False,
        description="True: rows without an engagement are items that were shown but not engaged with; a "
        "column: above 0 in the rows that were shown, such as those of a list",
    )
    position: str | None = Field(None, description="rank at which the item was shown; orders the candidates")
    true_probability: str | None = Field(
        None,
        description="simulated logs only: probability of an engagement, for the best reachable metric",
    )

    @property
    def impression_column(self) -> str | None:
        """The column that says which rows were shown; None if all were, or none."""
        return self.impressions if isinstance(self.impressions, str) else None


class ItemColumns(Config):
    """Columns of the items file: one row for each item."""

    id: str = Field(description="id of the item")


class UserColumns(Config):
    """Columns of the users file, if there is one: one row for each user."""

    id: str = Field(description="id of the user")


class Feature(Config):
    """One input of a tower."""

    name: Name = Field(description="name of the feature, which no other feature has")
    kind: Literal["id", "words", "trigrams", "number", "vector"] = Field(
        description="id: a value or a list of them; words, trigrams: parts of a text; number; vector: dense"
    )
    column: str = Field(description="column that is read")
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
        """Return what is wrong: table and dim go with some kinds only."""
        found = []
        if self.is_sparse and self.table is None:
            found.append(f"feature '{self.name}' of kind {self.kind} needs a table")
        if not self.is_sparse and self.table is not None:
            found.append(f"feature '{self.name}' of kind {self.kind} takes no table")
        if (self.kind == "vector") != (self.dim is not None):
            found.append(f"feature '{self.name}': dim goes with kind vector, and only there")
        return found


class FeatureSet(Config):
    """The inputs of the two towers, and of the score."""

    request: list[Feature] = Field(default_factory=list, description="inputs of the query tower")
    item: list[Feature] = Field(min_length=1, description="inputs of the item tower")
    candidate: list[CandidateFeature] = Field(
        default_factory=list,
        description="columns of the events file that belong to (request, item): a retrieval score, a price",
    )


class SequenceFeature(Config):
    """The user's last engagements before the request."""

    length: int = Field(100, ge=1, le=10_000, description="number of engagements that are kept")
    item: Name = Field(description="item feature (kind id) that represents an event's item")
    query: Name | None = Field(None, description="request feature (kind id) for the query of an event")
    engagements: list[Name] | None = Field(
        None, min_length=1, description="engagements that enter the sequence; without it all of them"
    )
    end: Literal["request", "session", "day", "month"] = Field(
        "request",
        description="the sequence ends before the request, or at the start of its session, day or month",
    )


class Head(Config):
    """A label that the model predicts: 1 if any of ``engagements`` happened and none of ``unless``."""

    name: Name = Field(description="name of the head, which no other head has")
    engagements: list[Name] = Field(min_length=1, description="the label is 1 if any of them happened")
    unless: list[Name] = Field(default_factory=list, description="and none of these")
    weight: float = Field(1.0, gt=0, description="weight of the head in the loss, before normalization")

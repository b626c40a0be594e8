"""What the columns of a search log mean: the one description that all packages read.

A :class:`SearchSchema` names the columns of the events, items and users files, the features that the
towers see, the ID tables behind them, the cross features, and the heads that are trained. It is written as
YAML; every mistake in it is collected and reported at once.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from interactrank.core.settings import Config, Name
from interactrank.schema import checks
from interactrank.schema.cross_features import AnyCrossFeature
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
from interactrank.schema.shorthand import expand
from interactrank.schema.tables import IdTable

__all__ = ["SearchSchema"]


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
    cross_features: list[AnyCrossFeature] = Field(
        default_factory=list, description="numbers of a (request, item) pair, each of a registered kind"
    )
    segments: dict[Name, Literal["events", "users"]] = Field(
        default_factory=dict, description="segment column -> file that has it"
    )
    exclude_repeats: bool = Field(
        False, description="rank without the items that the user already engaged with after the same query"
    )

    history_delay: str | None = Field(
        None,
        description="features see only what happened this long before the request, such as 1h or 1d, as "
        "those of a store that is that far behind; null: all before it",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        return expand(values) if isinstance(values, dict) else values

    @property
    def history_delay_ms(self) -> int:
        """How far behind the request the histories are, in milliseconds."""
        return 0 if self.history_delay is None else parse_duration(self.history_delay)

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
            *checks.delay_problems(self.history_delay),
            *checks.feature_problems(self),
            *checks.table_problems(self),
            *checks.engagement_problems(self),
            *checks.sequence_problems(self),
            *checks.cross_feature_problems(self),
            *checks.file_problems(self),
        ]

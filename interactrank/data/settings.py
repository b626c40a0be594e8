"""Settings of ``prepare`` and of the loader."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from interactrank.core.settings import Config


def parse_moment(text: str) -> int:
    """Return milliseconds since 1970 of a date or time (UTC if it names no zone).

    Example::

        >>> parse_moment("1970-01-02"), parse_moment("1970-01-01T01:00:00+01:00")
        (86400000, 0)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a date; write it like 2011-10-17 or 2011-10-17T06:00:00") from None
    return round(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp() * 1000)


def _as_text(value: Any) -> Any:
    """Return a date as text: YAML reads an unquoted 2011-10-17 as a date."""
    value = value.isoformat() if isinstance(value, date) else value
    if isinstance(value, str):
        parse_moment(value)
    return value


Moment = Annotated[str, BeforeValidator(_as_text)]


class SplitSettings(Config):
    """How requests are split by time.

    Without a split column in the log: either dates (requests from ``validation_from`` on validate, from
    ``test_from`` on test) or shares of the requests in order of time. With one,
    ``validation_of_train`` alone.
    """

    validation_from: Moment | None = Field(None, description="first moment of validation, such as 2011-10-10")
    test_from: Moment | None = Field(None, description="first moment of test")
    validation_share: float = Field(0.1, ge=0, lt=1)
    test_share: float = Field(0.1, ge=0, lt=1)
    validation_of_train: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="with a split column that has no validation requests: this last share of the train "
        "requests validates; a moment is not divided",
    )

    def problems(self) -> list[str]:
        """Return what is wrong with dates and shares, which exclude each other."""
        found = []
        first, last = self.validation_from, self.test_from
        if first is not None and last is None:
            found.append("validation_from needs test_from, where validation ends")
        if first is not None and last is not None and parse_moment(first) > parse_moment(last):
            found.append(f"validation_from {first} is after test_from {last}; validation comes first")
        for key in ("validation_share", "test_share"):
            if self.test_from is not None and getattr(self, key) != type(self).model_fields[key].default:
                found.append(f"{key} has no effect with test_from; give dates or shares, not both")
        if self.validation_share + self.test_share >= 1:
            found.append("validation_share + test_share must leave requests to train on")
        return found


class PrepareSettings(Config):
    """How a log becomes request-grouped Parquet."""

    split: SplitSettings = SplitSettings()
    train_from: Moment | None = Field(
        None,
        description="requests before this moment (split warmup) only count and make user sequences",
    )
    strict: bool = Field(
        False, description="a malformed row is an error instead of being counted and left out"
    )
    keep_log: bool = Field(
        False,
        description="keep the columns of the log in the dataset, so that days can be appended and users "
        "forgotten",
    )
    max_events_per_user_day: int | None = Field(
        None,
        ge=1,
        description="a user's events after this number on one day (UTC) are left out: programs search more "
        "than people; null: all count",
    )
    max_events_per_query_day: int | None = Field(None, ge=1, description="the same for the events of a query")
    memory_limit: str = Field("2GB", description="memory of the query engine; beyond it, it spills to disk")
    threads: int | None = Field(None, ge=1, description="threads of the query engine; default all cores")
    block_requests: int = Field(8192, ge=1, description="requests in memory at a time")
    group_requests: int = Field(1024, ge=1, description="requests of a Parquet row group, read as a whole")
    file_requests: int = Field(262_144, ge=1, description="requests of a Parquet file")


class LoaderSettings(Config):
    """How prepared requests become batches."""

    batch_requests: int = Field(64, ge=1, description="R, requests of a batch on each rank")
    negatives: int = Field(
        0, ge=0, description="items drawn from the catalogue for each request, added to its logged candidates"
    )
    negative_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description="negatives are drawn in proportion to (times a candidate in training + 1)^power",
    )
    projection_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="the last share of the training requests tells the projection how far to trust the dot "
        "product, the ones before fit the towers, and both what cross features are worth; in the last of "
        "several epochs all fit the towers alone. 0: all fit everything",
    )
    since: Moment | None = Field(
        None,
        description="train on the requests from this moment on, such as those of a new day; null: on all",
    )
    shuffle_groups: int = Field(
        8, ge=1, description="row groups that are mixed with each other while training"
    )
    prefetch: int = Field(
        2,
        ge=0,
        description="batches made ahead in the background; 0: none",
        json_schema_extra={"resume": "free"},
    )
    seed: int = 0

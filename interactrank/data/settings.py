"""Settings of ``prepare`` and of the loader."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from interactrank.schema import Config


def _as_text(value: Any) -> Any:
    """YAML reads an unquoted 2011-10-17 as a date."""
    return value.isoformat() if isinstance(value, datetime.date) else value


Moment = Annotated[str, BeforeValidator(_as_text)]


class SplitSettings(Config):
    """How requests are split by time where the log has no split column.

    Either dates (requests from ``validation_from`` on validate, from ``test_from`` on test) or shares of the
    requests in order of time.
    """

    validation_from: Moment | None = Field(None, description="first moment of validation, such as 2011-10-10")
    test_from: Moment | None = Field(None, description="first moment of test")
    validation_share: float = Field(0.1, ge=0, lt=1)
    test_share: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> SplitSettings:
        if self.validation_from is not None and self.test_from is None:
            raise ValueError("validation_from needs test_from, where validation ends")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave requests to train on")
        return self


class PrepareSettings(Config):
    """How a log becomes request-grouped Parquet."""

    split: SplitSettings = SplitSettings()
    train_from: Moment | None = Field(
        None, description="requests before this moment only serve as history, they are not trained on"
    )
    strict: bool = Field(
        False, description="a malformed row is an error instead of being counted and left out"
    )
    memory_limit: str = Field("2GB", description="memory of the query engine; beyond it, it spills to disk")
    threads: int | None = Field(None, ge=1, description="threads of the query engine; default all cores")
    block_requests: int = Field(8192, ge=1, description="requests in memory at a time")
    group_requests: int = Field(1024, ge=1, description="requests of a Parquet row group, read as a whole")
    file_requests: int = Field(262_144, ge=1, description="requests of a Parquet file")


class LoaderSettings(Config):
    """How prepared requests become batches."""

    batch_requests: int = Field(64, ge=1, description="R, requests of a batch on each rank")
    negatives: int = Field(
        0, ge=0, description="items drawn from the catalogue for each request, beside its logged candidates"
    )
    negative_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description="negatives are drawn in proportion to (engagements in training + 1)^power",
    )
    shuffle_groups: int = Field(
        8, ge=1, description="row groups that are mixed with each other while training"
    )
    prefetch: int = Field(2, ge=0, description="batches made ahead in the background; 0: none")
    seed: int = 0

"""Settings of evaluation: the section ``evaluation`` of a run's YAML file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name

_LARGEST_K = 1_000_000


class LambdaMartSettings(Config):
    """The trees of the baseline ``lambdamart``."""

    trees: int = Field(500, ge=1, description="most trees; fewer once the last requests gain nothing")
    patience: int = Field(30, ge=1, description="trees without a gain before it stops")
    learning_rate: float = Field(0.05, gt=0, le=1)
    leaves: int = Field(15, ge=2, le=4096, description="most leaves of a tree")
    min_candidates: int = Field(50, ge=1, description="least candidates of a leaf")
    feature_share: float = Field(0.7, gt=0, le=1, description="columns that a tree may use")
    l2: float = Field(5.0, ge=0, description="penalty on the leaves' values")
    negatives: int = Field(50, ge=1, description="items drawn for each request of a log without impressions")
    seed: int = Field(0, ge=0)


class EvaluationSettings(Config):
    """The split and candidates to rank, and what to report."""

    split: Literal["validation", "test"] = "test"
    candidates: Literal["logged", "catalogue"] = Field(
        "logged", description="rank the candidates that the log shows, or all items"
    )
    head: Name | None = Field(
        None, description="head whose score ranks and whose label counts; default: first"
    )
    ks: list[int] = Field(default_factory=lambda: [3, 10, 100], min_length=1, description="cut-offs")
    resamples: int = Field(2000, ge=100, description="of the bootstrap intervals")
    seed: int = 0
    by_user: bool = Field(False, description="resample users instead of requests")
    lambdamart: LambdaMartSettings = Field(default_factory=lambda: LambdaMartSettings())
    block_scores: int = Field(500_000, ge=1, description="candidates scored at a time")

    def problems(self) -> list[str]:
        """Return what is wrong with the cut-offs."""
        wrong = [k for k in self.ks if not 1 <= k <= _LARGEST_K]
        repeated = sorted({k for k in self.ks if self.ks.count(k) > 1})
        return [
            *(f"ks: {k} is not a cut-off; allowed are 1 to {_LARGEST_K:,}" for k in wrong),
            *(f"ks: {k} is named more than once" for k in repeated),
        ]

"""Settings of evaluation: the section ``evaluation`` of a run's YAML file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name

_LARGEST_K = 1_000_000


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
    block_scores: int = Field(500_000, ge=1, description="candidates scored at a time")

    def problems(self) -> list[str]:
        """Return what is wrong with the cut-offs."""
        wrong = [k for k in self.ks if not 1 <= k <= _LARGEST_K]
        repeated = sorted({k for k in self.ks if self.ks.count(k) > 1})
        return [
            *(f"ks: {k} is not a cut-off; allowed are 1 to {_LARGEST_K:,}" for k in wrong),
            *(f"ks: {k} is named more than once" for k in repeated),
        ]

"""What the paper found, and the pair of models of an ablation that tests it.

Zhang et al., "InteractRank: Personalized web-scale search pre-ranking with cross interaction features",
WWW 2025, arXiv 2504.06609. Its offline metric is HITS@3, here ``hit@3``. Its numbers are of another log,
partly of online experiments: what can be compared is the direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interactrank.experiments.parts import IQP, PARTS, Parts
from interactrank.experiments.variants import FULL, PLAIN, Variant, find
from interactrank.runs.config import RunConfig

__all__ = ["LEVEL", "METRIC", "Claim", "claims", "verdict"]

METRIC = "hit@3"
LEVEL = 0.05
"""A difference is taken for one below this p-value, corrected for all tests of the ablation."""


@dataclass(frozen=True)
class Claim:
    """A finding of the paper.

    Attributes:
        text: the finding.
        first: the model that it says ranks better; None where this log or config has no such pair.
        other: the model that it is compared with.
    """

    text: str
    first: str | None
    other: str | None


def claims(config: RunConfig, variants: Sequence[Variant]) -> list[Claim]:
    """Return the paper's findings, each with the two models that test it.

    A part that the full model has is tested by leaving it out, any other by adding it.

    Args:
        config: of the full model.
        variants: the models that are there.
    """
    parts = Parts(config)
    names = [variant.name for variant in variants]
    used = set(parts.used)

    def named(text: str, first: str, other: str) -> Claim:
        return Claim(text, first, other) if {first, other} <= set(names) else Claim(text, None, None)

    def pair(text: str, high: set[str], low: set[str]) -> Claim:
        """Return the models with all the parts ``high``, and without those of ``low`` among them."""
        if not high <= used | set(parts.offered):
            return Claim(text, None, None)
        first = find(variants, parts.changes(_ordered(used | high)))
        other = find(variants, parts.changes(_ordered((used | high) - low)))
        if first is None or other is None or first == other:
            return Claim(text, None, None)
        return Claim(text, first.name, other.name)

    iqp = {part for part in IQP if part in used} or {part for part in IQP if part in parts.offered}
    softmax = {"sampled_softmax", "log_q"} & (used | set(parts.offered))
    mask_net = {"crossing"} if parts.name("crossing") == "mask_net" else set()
    return [
        named("InteractRank ranks better than BM25 (online: +6.5 % engagement)", FULL, "bm25"),
        named("InteractRank ranks better than a plain two-tower (online: +3.7 % engagement)", FULL, PLAIN),
        named("A plain two-tower ranks better than BM25 (follows from the two above)", PLAIN, "bm25"),
        pair("The user sequence helps", {"sequence"}, {"sequence"}),
        pair("The cross features (IQP) help", iqp, iqp),
        pair(
            "A sampled softmax over in-batch items with logQ helps: impressions lack easy negatives",
            softmax,
            softmax & {"sampled_softmax"},
        ),
        pair("The logQ correction of the sampled softmax helps", softmax, {"log_q"}),
        pair("Feature crossing by a parallel MaskNet, a part of both towers, helps", mask_net, mask_net),
    ]


def verdict(metrics: dict[str, Any] | None) -> str:
    """Return what a difference says about a finding.

    Args:
        metrics: ``difference``, ``low``, ``high``, ``p_holm`` and ``seeds`` (the difference of each seed) of
            the better model by the paper minus the other one; None where it was not tested.

    Returns:
        ``agrees`` or ``disagrees`` where the interval leaves out 0, the corrected p-value is below
        :data:`LEVEL`, and every seed says the same (the interval and the p-value do not know how much seeds
        differ); else ``no difference shown``; or ``not tested``.

    Example::

        >>> verdict({"low": 0.01, "high": 0.03, "p_holm": 0.004, "seeds": [0.01, 0.03]})
        'agrees'
        >>> verdict({"low": 0.01, "high": 0.03, "p_holm": 0.004, "seeds": [-0.01, 0.05]})
        'no difference shown'
    """
    if metrics is None:
        return "not tested"
    low, high, p = (math.nan if metrics[k] is None else metrics[k] for k in ("low", "high", "p_holm"))
    if p < LEVEL and low > 0 and min(metrics["seeds"], default=low) > 0:
        return "agrees"
    if p < LEVEL and high < 0 and max(metrics["seeds"], default=high) < 0:
        return "disagrees"
    return "no difference shown"


def _ordered(parts: set[str]) -> list[str]:
    return [part for part in PARTS if part in parts]

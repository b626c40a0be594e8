"""The parts of a score: what each feature adds to it.

Shapes: R requests, I items, C candidates, H heads, D embedding dim, F columns of the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.models.scoring import ScoreHead

__all__ = ["score_parts"]


@torch.no_grad()
def score_parts(
    head: ScoreHead,
    query: Tensor,
    item: Tensor,
    candidate_request: Tensor,
    candidate_item: Tensor,
    cross: CrossFeatureTensors,
    which: int = 0,
) -> dict[str, Tensor]:
    """Return what the score of one head is the sum of.

    The projection is affine, so that each cross feature has a part of its own: its weight times its value,
    or what the model learned for an unknown value. Where a cross feature enters in several transforms, its
    part is their sum.

    Args:
        head: of a model in evaluation mode.
        query: [R, H, D].
        item: [I, D].
        candidate_request: [C] in 0..R-1.
        candidate_item: [C] in 0..I-1.
        cross: rates, numbers and counts [C, *], supports [R, *].
        which: 0..H-1.

    Returns:
        name -> [C] float32: ``dot``, the weighted dot product; ``bias``; a part for each cross feature that
        is read; ``correction`` and ``interaction``, the learned functions of several inputs at once, where
        the model has them. They add up to the score.
    """
    pairs = (query, item, candidate_request, candidate_item)
    row = 0 if head.project.shared else which
    support = cross.support if len(cross.support) == 1 else cross.support[candidate_request]
    rest = head.rest_parts(CrossFeatureTensors(cross.rate, support, cross.number, cross.counts))
    parts = {"dot": head.project.dot_weight()[row] * head.dots(*pairs)[:, which]}
    parts["bias"] = rest.bias[which].expand(len(candidate_item))
    for j, name in enumerate(rest.names):
        parts[name] = parts.get(name, 0) + rest.features[:, which, j]
    if rest.correction is not None:
        parts["correction"] = rest.correction[:, which]
    if type(head).forward is not ScoreHead.forward:
        total = torch.stack(list(parts.values())).sum(0)
        parts["interaction"] = head(*pairs, cross)[:, which] - total
    return parts

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
    project = head.project
    row = 0 if project.shared else which
    parts = {"dot": project.dot_weight()[row] * head.dots(*pairs)[:, which]}
    parts["bias"] = project.bias[row].expand(len(candidate_item))
    support = cross.support if len(cross.support) == 1 else cross.support[candidate_request]
    read = head._read(cross.rate, support, cross.number, cross.counts)
    if read.values is not None:
        values, added = read.values.float(), torch.zeros_like(read.values)
        if read.unknown is not None:
            unknown = read.unknown.expand(values.shape)
            values = torch.where(unknown, project._stand_in(values, unknown), values)
            if project.missing == "learned":
                added = unknown * project.flag_weight[row]
        columns = values * project.cross_weight[row] + added
        for j, name in enumerate(_names(head)):
            parts[name] = parts.get(name, 0) + columns[:, j]
    if head.categories.kept:
        parts |= _of_categories(head, cross.number, which)
    if head.correction is not None:
        corrected = head.correction(read.values, read.unknown, read.context)
        parts["correction"] = corrected[:, min(which, corrected.shape[1] - 1)]
    if type(head).forward is not ScoreHead.forward:
        total = torch.stack(list(parts.values())).sum(0)
        parts["interaction"] = head(*pairs, cross)[:, which] - total
    return parts


def _names(head: ScoreHead) -> list[str]:
    """Return the cross feature of each of the F columns: rates for each transform, numbers, ratios."""
    rates, numbers = len(head.rates), len(head.numbers)
    transforms = 0 if head.smoothing is None else len(head.smoothing.transforms)
    ratios = head.reads[rates + numbers + len(head.categories.kept) :]
    return [*head.reads[:rates] * transforms, *head.reads[rates : rates + numbers], *ratios]


def _of_categories(head: ScoreHead, number: Tensor, which: int) -> dict[str, Tensor]:
    categories, first = head.categories, len(head.rates) + len(head.numbers)
    assert categories.weight is not None
    rows = number[:, categories.columns].long() + categories.first
    named = head.reads[first : first + len(categories.kept)]
    return {name: categories.weight[rows[:, j], which] for j, name in enumerate(named)}

"""Verify: an export against the model itself, request by request.

Shapes: N items of the catalogue, C candidates, H heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import Jagged
from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.encode_items import encode_items
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.models import InteractRank
from interactrank.serving.pre_ranker import PreRanker
from interactrank.serving.selection import top_k

__all__ = ["verify"]


@torch.inference_mode()
def verify(
    ranker: PreRanker, model: InteractRank, dataset: PreparedDataset, requests: int, k: int = 1000
) -> dict[str, Any]:
    """Replay requests of the last split that has any, and compare with eager float32.

    Each ranks the whole catalogue; its logged candidates alone, if the model reads candidate features.

    Args:
        ranker: of the export.
        model: that was exported.
        dataset: that it was trained on.
        requests: how many.
        k: of the overlap; at most half of the candidates.

    Returns:
        ``requests``, ``split``, ``largest_difference`` of two scores, ``overlap`` (share of the k best that
        are the same, the mean over requests) and ``k`` (of the last request).
    """
    split = next(s for s in ("test", "validation", "train") if dataset.num_requests(s))
    loader = SearchLoader(dataset, split, LoaderSettings(batch_requests=1, prefetch=0), shuffle=False)
    weights = torch.tensor([ranker.head_weights.get(name, 0.0) for name in dataset.schema.head_names])
    items = encode_items(model, dataset.items, dataset.layout).float()
    difference, overlaps, kept = 0.0, [], k
    for done, one in enumerate(loader.requests()):
        if done == requests:
            break
        logged = one.positions("candidates").values.astype(np.int64)
        rows = np.unique(logged) if dataset.schema.features.candidate else None
        expected = _eager(model, dataset, one, items, rows) @ weights
        found = ranker.scores(one, rows)[0]
        difference = max(difference, float((found - expected).abs().max()))
        kept = min(k, max(1, len(expected) // 2))
        best = set(top_k(expected, kept).tolist())
        overlaps.append(len(best & set(top_k(found, kept).tolist())) / kept)
    return {
        "requests": len(overlaps),
        "split": split,
        "largest_difference": difference,
        "overlap": float(np.mean(overlaps)),
        "k": kept,
    }


def _eager(
    model: InteractRank, dataset: PreparedDataset, one: PreparedRequests, items: Tensor, rows: Any
) -> Tensor:
    """Return [C, H] scores by the model's own function."""
    query = model.encode_requests(request_batch(one))
    candidates = None if rows is None else Jagged(rows, np.array([len(rows)]))
    found = dataset.cross.look_up(one.keys(), candidates, only=model.score_head.reads)
    cross = CrossFeatureTensors(*(torch.from_numpy(x) for x in found))
    at = torch.arange(len(items)) if rows is None else torch.from_numpy(rows)
    scores: Tensor = model.score_head(query, items, torch.zeros_like(at), at, cross)
    return scores

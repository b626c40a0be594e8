"""LambdaMART on our own features as a baseline: what gradient-boosted trees make of the same numbers.

Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82; LightGBM's implementation.
Shapes: R requests, N items of the catalogue, C candidates, F columns.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.batch import SearchBatch
from interactrank.core.extras import require
from interactrank.cross_features import CrossArrays, Jagged
from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.columns import DENSE
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.settings import LambdaMartSettings

__all__ = ["LambdaMartScorer"]

Matrix = NDArray[np.float32]


class LambdaMartScorer:
    """Trees over the cross features, the candidate features and the numbers of items and requests.

    Its columns: each rate with its support, each number, the engagements, impressions and smoothed ratio of
    each ratio, and the number and vector features of both towers. It is fitted when it is made, on the
    training requests with a positive and another candidate; a log without impressions gets negatives drawn
    from the catalogue. The last tenth of them, by time, says when to stop. Nothing of it is random.

    Args:
        log: the prepared log.
        head: position of the head that ranks.
        settings: of the trees.
        block: candidates scored at a time.

    Raises:
        MissingExtraError: LightGBM is not installed.
        DatasetError: no training request has a positive and another candidate.
    """

    def __init__(
        self, log: PreparedDataset, head: int, settings: LambdaMartSettings, block: int = 1 << 18
    ) -> None:
        lightgbm = require("lightgbm", "lightgbm")
        self.log, self.block = log, block
        columns, labels, sizes, index = _training(log, head, settings)
        if not len(sizes):
            raise DatasetError(
                "the baseline lambdamart found no training request with a positive and another candidate"
            )
        late = index >= np.quantile(index, 0.9) if len(sizes) >= 20 else np.zeros(len(sizes), bool)
        of_late = np.repeat(late, sizes)
        train = lightgbm.Dataset(columns[~of_late], labels[~of_late], group=sizes[~late])
        options: dict[str, Any] = {}
        if late.any():
            watched = lightgbm.Dataset(columns[of_late], labels[of_late], group=sizes[late], reference=train)
            stop = lightgbm.early_stopping(settings.patience, verbose=False)
            options = {"valid_sets": [watched], "callbacks": [stop]}
        self.booster = lightgbm.train(_parameters(settings), train, settings.trees, **options)
        self.trees = int(self.booster.best_iteration or self.booster.num_trees())

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Return [C], or [R, N] of the whole catalogue, scores."""
        found = self.log.cross.look_up(requests.keys(), candidates)
        items = len(self.log.items)
        if candidates is None:
            request, item = np.divmod(np.arange(len(requests) * items), items)
        else:
            request = np.repeat(np.arange(len(requests)), candidates.lengths)
            item = candidates.values.astype(np.int64)
        width = self.log.layout.dense_width("request")
        dense = requests.matrix(DENSE, width)
        scores = np.empty(len(item), np.float32)
        for first in range(0, len(item), self.block):
            c = slice(first, first + self.block)
            some = CrossArrays(found.rate[c], found.support[request[c]], found.number[c], found.counts[c])
            columns = _columns(some, self.log.items.dense[item[c]], dense[request[c]])
            scores[c] = self.booster.predict(columns, num_iteration=self.trees)
        return torch.from_numpy(scores if candidates is not None else scores.reshape(len(requests), items))

    @property
    def operations_per_candidate(self) -> float:
        """Return comparisons of a candidate: the leaves' mean depth, log2(leaves), of each tree."""
        leaves = self.booster.dump_model(num_iteration=self.trees)["tree_info"]
        return float(sum(np.log2(max(tree["num_leaves"], 1)) for tree in leaves))


def _parameters(settings: LambdaMartSettings) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_candidates,
        "feature_fraction": settings.feature_share,
        "lambda_l2": settings.l2,
        "num_threads": int(os.environ.get("OMP_NUM_THREADS", 0)),
        "deterministic": True,
        "force_row_wise": True,
        "seed": settings.seed,
        "verbosity": -1,
    }


def _training(
    log: PreparedDataset, head: int, settings: LambdaMartSettings
) -> tuple[Matrix, NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return columns [C, F], labels [C], candidates of each request [R] and its row in the split [R]."""
    negatives = 0 if log.schema.events.impressions else settings.negatives
    loader_settings = LoaderSettings(batch_requests=256, negatives=negatives, seed=settings.seed)
    loader = SearchLoader(log, "train", loader_settings, shuffle=False)
    random = np.random.default_rng(settings.seed)
    columns, labels, sizes, index = [], [], [], []
    for batch in loader.epoch():
        kept, some = _kept(batch, head)
        # In random order: LightGBM counts equal scores in the order of their rows, in which positives or the
        # positions of a log may come first, and would stop after the first tree.
        request = batch.candidate_request().numpy()[some]
        order = np.lexsort((random.random(len(request)), request))
        columns.append(_columns_of(batch)[some][order])
        labels.append(batch.labels[:, head].numpy()[some][order])
        sizes.append(batch.candidate_lengths.numpy()[kept])
        index.append(batch.request_index.numpy()[kept])
    return np.concatenate(columns), np.concatenate(labels), np.concatenate(sizes), np.concatenate(index)


def _kept(batch: SearchBatch, head: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return [R] whether a request has something to learn from, and [C] of its candidates."""
    lengths = batch.candidate_lengths.numpy()
    request = batch.candidate_request().numpy()
    positives = np.bincount(request, batch.labels[:, head].numpy() > 0, len(lengths))
    kept = (positives > 0) & (positives < lengths)
    return kept, kept[request]


def _columns_of(batch: SearchBatch) -> Matrix:
    request, item = batch.candidate_request().numpy(), batch.candidate_item.numpy()
    cross = batch.cross
    found = CrossArrays(
        cross.rate.numpy(), cross.support.numpy()[request], cross.number.numpy(), cross.counts.numpy()
    )
    return _columns(found, batch.item_dense.numpy()[item], batch.request_dense.numpy()[request])


def _columns(cross: CrossArrays, item: Matrix, request: Matrix) -> Matrix:
    """Return [C, F]; the support has a row for each candidate here."""
    engaged, shown = np.split(cross.counts, 2, axis=1)
    ratio = (engaged + 1) / (shown + 10)
    parts = [cross.rate, cross.support, cross.number, engaged, shown, ratio, item, request]
    return np.concatenate(parts, axis=1, dtype=np.float32)

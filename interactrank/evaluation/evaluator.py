"""evaluate: one pass over a split, for logged candidates and for the whole catalogue alike.

Shapes: R requests of a block, N items of the catalogue, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from interactrank.core.progress import track
from interactrank.cross_features.jagged import Jagged
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.checks import check_requests, head_index
from interactrank.evaluation.corpus_ranks import ranks_of_relevant
from interactrank.evaluation.gather import gather_frame
from interactrank.evaluation.metric_frame import MetricFrame, concatenate_frames, hide_meaningless
from interactrank.evaluation.metrics.measure import request_metrics
from interactrank.evaluation.predictions import Predictions, gather_predictions
from interactrank.evaluation.ranks import RelevantRanks, ranks_of_candidates
from interactrank.evaluation.scorers.protocol import ProbabilityScorer, Scorer
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.evaluation.slices import (
    Slice,
    length_slice,
    query_frequency_slice,
    seen_query_slice,
    segment_slice,
)

__all__ = ["evaluate", "evaluate_many", "head_index", "request_slices", "users"]

_LOGGED_CANDIDATES = 50  # of a request, about, to size the blocks


def evaluate(
    scorer: Scorer,
    log: PreparedDataset,
    settings: EvaluationSettings,
    *,
    label: str = "evaluate",
    limit: int | None = None,
) -> MetricFrame:
    """Rank every request of the split and measure it.

    In a process group each rank ranks its share and all ranks get the whole frame.

    Args:
        scorer: what ranks.
        log: the prepared log.
        settings: the split, the candidates and the cut-offs.
        label: of the progress bar.
        limit: stop after about that many requests, spread over the split (for validation while training).

    Returns:
        The frame with the column ``request_index`` (row of the split), sorted by it. If no request has both a
        relevant and another candidate, its metrics are NaN: any order would be perfect.

    Raises:
        DatasetError: the split is empty.
    """
    return evaluate_many({label: scorer}, log, settings, label=label, limit=limit)[label]


def evaluate_many(
    scorers: Mapping[str, Scorer],
    log: PreparedDataset,
    settings: EvaluationSettings,
    *,
    label: str = "evaluate",
    limit: int | None = None,
    predictions: dict[str, Predictions] | None = None,
) -> dict[str, MetricFrame]:
    """Rank every request of the split by each of several scorers, in one pass over the log.

    Args:
        scorers: by name. Those that share a :class:`~interactrank.evaluation.scorers.CrossBlock` have the
            cross features of each block of requests computed once.
        log: the prepared log.
        settings: the split, the candidates and the cut-offs.
        label: of the progress bar.
        limit: stop after about that many requests, spread over the split.
        predictions: filled by name with what scorers whose scores are probabilities expect of the logged
            candidates, if the log has impressions.

    Returns:
        A frame of :func:`evaluate` by name.

    Raises:
        DatasetError: the split is empty.
    """
    check_requests(log, settings)
    blocks = {name: _Blocks(scorer, settings, head_index(log, settings)) for name, scorer in scorers.items()}
    collect = predictions is not None and bool(log.schema.events.impressions)
    every = 1 if limit is None else -(-log.num_requests(settings.split) // limit)
    loader = _loader(log, settings, every)
    for requests in track(loader.requests(), loader.steps_per_epoch, label):
        some = requests.take(np.arange(0, len(requests), every))
        for of in blocks.values():
            of.add(some, collect)
    for name, of in blocks.items():
        if predictions is not None and of.predictions:
            predictions[name] = gather_predictions(of.predictions)
    return {
        name: hide_meaningless(gather_frame(concatenate_frames(of.frames), key="request_index"))
        for name, of in blocks.items()
    }


def _loader(log: PreparedDataset, settings: EvaluationSettings, every: int) -> SearchLoader:
    """Return the requests of this rank, in blocks from which one of ``every`` requests is taken."""
    per_request = len(log.items) if settings.candidates == "catalogue" else _LOGGED_CANDIDATES
    block = max(1, settings.block_scores // per_request)
    ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    return SearchLoader(
        log,
        settings.split,
        LoaderSettings(batch_requests=block * every, prefetch=0),
        rank=rank,
        world_size=ranks,
        shuffle=False,
    )


@dataclass
class _Blocks:
    """What one scorer made of the blocks of requests so far."""

    scorer: Scorer
    settings: EvaluationSettings
    head: int
    frames: list[MetricFrame] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)

    def add(self, requests: PreparedRequests, collect: bool) -> None:
        """Score and measure a block of requests; collect probabilities, too."""
        logged = requests.positions("candidates")
        labels = requests.matrix("labels", len(requests.layout.schema.heads))[:, self.head]
        request = np.repeat(np.arange(len(requests)), logged.lengths)
        if self.settings.candidates == "logged":
            of_logged = self.scorer(requests, logged)
            ranks = _rank_logged(requests, logged, request, of_logged, labels)
        else:
            scores = self.scorer(requests, None)
            of_logged = scores[torch.from_numpy(request), torch.from_numpy(logged.values.astype(np.int64))]
            ranks = _rank_catalogue(requests, logged, request, scores, labels)
        measured = request_metrics(ranks, ks=self.settings.ks, keys=requests.index)
        self.frames.append({"request_index": requests.index, **measured})
        if collect and isinstance(self.scorer, ProbabilityScorer):
            probability = self.scorer.probabilities(of_logged)
            if probability is not None:
                index = requests.index[request]
                self.predictions.append(Predictions(index, probability.double().numpy(), labels > 0))


def _rank_logged(
    requests: PreparedRequests,
    logged: Jagged,
    request: NDArray[np.int64],
    scores: Tensor,
    labels: NDArray[np.float32],
) -> RelevantRanks:
    num_items = len(requests.items)
    kept = (labels > 0) | ~np.isin(request * num_items + logged.values, _repeats(requests, num_items))
    lengths = np.bincount(request[kept], minlength=len(requests))
    return ranks_of_candidates(scores.numpy()[kept], labels[kept], lengths)


def _rank_catalogue(
    requests: PreparedRequests,
    logged: Jagged,
    request: NDArray[np.int64],
    scores: Tensor,
    labels: NDArray[np.float32],
) -> RelevantRanks:
    num_items = len(requests.items)
    relevant = (request * num_items + logged.values)[labels > 0]
    excluded = np.setdiff1d(_repeats(requests, num_items), relevant)
    return ranks_of_relevant(
        scores,
        np.divmod(relevant, num_items),
        np.divmod(excluded, num_items) if len(excluded) else None,
    )


def _repeats(requests: PreparedRequests, num_items: int) -> NDArray[np.int64]:
    """request * N + item of what the user engaged with before after the same query, if that is left out."""
    if not requests.layout.schema.exclude_repeats:
        return np.empty(0, np.int64)
    items = requests.positions("excluded")
    return np.repeat(np.arange(len(requests)), items.lengths) * num_items + items.values


def request_slices(log: PreparedDataset, split: str) -> dict[str, Slice]:
    """Return slices of a split's requests.

    Args:
        log: the prepared log.
        split: whose requests, in their order.

    Returns:
        ``query`` (seen and unseen in training), ``frequency`` (head to tail), ``history`` (its length, where
        there is one) and one for each segment.
    """
    segments = [f"segment.{s}" for s in log.schema.segments]
    table = log.read(split, ["train_frequency", "events.item", *segments])
    frequency = table["train_frequency"].to_numpy()
    result = {
        "query": seen_query_slice(frequency),
        "frequency": query_frequency_slice(frequency, log.train_queries()),
    }
    if log.schema.sequence is not None:
        result["history"] = length_slice(from_arrow(table["events.item"]).lengths)
    for name in segments:
        result[name.removeprefix("segment.")] = segment_slice(table[name].to_pylist())
    return result


def users(log: PreparedDataset, split: str) -> NDArray[Any] | None:
    """Return the user of each request, [R]; None if the log names no user."""
    if log.schema.events.user is None:
        return None
    return np.array(log.read(split, ["user"])["user"].to_pylist(), dtype=np.str_)

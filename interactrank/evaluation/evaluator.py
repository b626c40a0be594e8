"""evaluate: one pass over a split, for logged candidates and for the whole catalogue alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from interactrank.core.progress import track
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.loading.collate import PreparedRequests
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.evaluation.accumulate import gather_table
from interactrank.evaluation.ranking import request_metrics
from interactrank.evaluation.ranks import ranks_of_candidates, ranks_of_relevant
from interactrank.evaluation.scorers import Scorer
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.evaluation.slices import (
    Slice,
    length_slice,
    query_frequency_slice,
    seen_query_slice,
    segment_slice,
)
from interactrank.evaluation.table import RequestTable, concatenate_tables

LOGGED_CANDIDATES = 50  # of a request, about, to size the blocks


def evaluate(
    scorer: Scorer,
    log: PreparedDataset,
    settings: EvaluationSettings,
    *,
    label: str = "evaluate",
    limit: int | None = None,
) -> RequestTable:
    """Rank every request of the split and measure it.

    In a process group each rank ranks its share and all ranks get the whole table.

    Args:
        scorer: what ranks.
        log: the prepared log.
        settings: the split, the candidates and the cut-offs.
        label: of the progress bar.
        limit: stop after about that many requests, spread over the split (for a look while training).

    Returns:
        The per-request table with the column ``request_index`` (row of the split), sorted by it.

    Raises:
        DatasetError: the split is empty.
    """
    return evaluate_together({label: scorer}, log, settings, label=label, limit=limit)[label]


def evaluate_together(
    scorers: Mapping[str, Scorer],
    log: PreparedDataset,
    settings: EvaluationSettings,
    *,
    label: str = "evaluate",
    limit: int | None = None,
) -> dict[str, RequestTable]:
    """Rank every request of the split by each of several scorers, in one pass over the log.

    Args:
        scorers: by name. Those that share a :class:`~interactrank.evaluation.scorers.CrossBlock` have the
            cross features of each block of requests computed once.
        log, settings, label, limit: as of :func:`evaluate`.

    Returns:
        A table as of :func:`evaluate` by name.

    Raises:
        DatasetError: the split is empty.
    """
    if log.num_requests(settings.split) == 0:
        raise DatasetError(
            f"the log has no {settings.split} requests to evaluate on; see prepare.split or evaluation.split"
        )
    head = ranking_head(log, settings)
    per_request = len(log.items) if settings.candidates == "catalogue" else LOGGED_CANDIDATES
    block = max(1, settings.block_scores // per_request)
    every = 1 if limit is None else -(-log.num_requests(settings.split) // limit)
    ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    loader = SearchLoader(
        log,
        settings.split,
        LoaderSettings(batch_requests=block * every, prefetch=0),
        rank=rank,
        world_size=ranks,
        shuffle=False,
    )
    tables: dict[str, list[RequestTable]] = {name: [] for name in scorers}
    for requests in track(loader.requests(), loader.steps_per_epoch, label):
        some = requests.take(np.arange(0, len(requests), every))
        for name, scorer in scorers.items():
            tables[name].append({"request_index": some.index, **_rank(scorer, some, settings, head)})
    return {name: gather_table(concatenate_tables(t), key="request_index") for name, t in tables.items()}


def ranking_head(log: PreparedDataset, settings: EvaluationSettings) -> int:
    """Position of the head that ranks.

    Args:
        log: names the heads.
        settings: names the head; the first one when left out.

    Raises:
        DatasetError: there is no head of that name.
    """
    names = log.schema.head_names
    if settings.head is None:
        return 0
    if settings.head not in names:
        raise DatasetError(f"evaluation.head: no head '{settings.head}'; the schema has {', '.join(names)}")
    return names.index(settings.head)


def _rank(
    scorer: Scorer, requests: PreparedRequests, settings: EvaluationSettings, head: int
) -> RequestTable:
    logged = requests.positions("candidates")
    num_items = len(requests.items)
    labels = requests.matrix("labels", len(requests.layout.schema.heads))[:, head]
    request = np.repeat(np.arange(len(requests)), logged.lengths)
    pairs = request * num_items + logged.values
    repeats = _repeats(requests, num_items)
    if settings.candidates == "logged":
        scores = scorer(requests, logged).numpy()
        kept = (labels > 0) | ~np.isin(pairs, repeats)
        lengths = np.bincount(request[kept], minlength=len(requests))
        return request_metrics(ranks_of_candidates(scores[kept], labels[kept], lengths), ks=settings.ks)
    relevant = pairs[labels > 0]
    excluded = np.setdiff1d(repeats, relevant)
    ranks = ranks_of_relevant(
        scorer(requests, None),
        np.divmod(relevant, num_items),
        np.divmod(excluded, num_items) if len(excluded) else None,
    )
    return request_metrics(ranks, ks=settings.ks)


def _repeats(requests: PreparedRequests, num_items: int) -> NDArray[np.int64]:
    """request * N + item of what the user engaged with before after the same query, if that is left out."""
    if not requests.layout.schema.exclude_repeats:
        return np.empty(0, np.int64)
    items = requests.positions("excluded")
    return np.repeat(np.arange(len(requests)), items.lengths) * num_items + items.values


def request_slices(log: PreparedDataset, split: str) -> dict[str, Slice]:
    """Slices of a split's requests.

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
    """[R] user of each request; None where the log names no user."""
    if log.schema.events.user is None:
        return None
    return np.array(log.read(split, ["user"])["user"].to_pylist(), dtype=np.str_)

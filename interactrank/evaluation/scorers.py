"""Scorers: what an evaluation can rank with. A model, BM25, counts, and the truth of a simulated log.

Shapes: R requests, N items of the catalogue, C candidates, H heads, D embedding dim, X history and Y lexical
features.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features.jagged import Jagged
from interactrank.data.errors import DatasetError
from interactrank.data.loading.collate import PreparedRequests, item_batch, request_batch
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank


class Scorer(Protocol):
    """Scores the candidates of requests; higher is better."""

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """[C] float32 scores of the candidates; [R, N] of the whole catalogue where they are None."""


class CrossBlock:
    """The cross features of the requests at hand, computed once for all the models that score them.

    Args:
        log: the prepared log that the requests come from.
        only: iqp and lexical features that any of the models reads; the others stay 0.
    """

    def __init__(self, log: PreparedDataset, only: Collection[str]) -> None:
        self.log, self.only = log, only
        self._of: tuple[PreparedRequests, Jagged | None] | None = None
        self._features: tuple[NDArray[np.float32], ...] = ()

    def __call__(
        self, requests: PreparedRequests, candidates: Jagged | None
    ) -> tuple[NDArray[np.float32], ...]:
        """(rate [C, X], support [R, X], lexical [C, Y]) of the candidates, C = R * N where they are None."""
        if self._of is None or requests is not self._of[0] or not _equal(candidates, self._of[1]):
            keys = requests.keys()
            rate, support = self.log.cross.history(keys, candidates, only=self.only)
            self._features = (rate, support, self.log.cross.match(keys, candidates, only=self.only))
            self._of = (requests, candidates)
        return self._features


class ModelScorer:
    """An InteractRank (sharded or not); the catalogue is encoded once, each request once.

    With a sharded model all ranks must make and call it together.

    Args:
        model: in evaluation mode.
        log: the prepared log that the requests come from.
        head: position of the head that ranks.
        device: where the model is.
        chunk: items encoded, and logged candidates scored, at a time.
        cross: shared by several models; of this model's own features when left out.
    """

    def __init__(
        self,
        model: InteractRank,
        log: PreparedDataset,
        head: int,
        device: torch.device,
        chunk: int = 1 << 13,
        cross: CrossBlock | None = None,
    ) -> None:
        self.cross = cross or CrossBlock(log, model.score_head.reads)
        self.model, self.log, self.head, self.device, self.chunk = model, log, head, device, chunk
        rows = np.arange(len(log.items))
        blocks = (rows[first : first + chunk] for first in range(0, len(rows), chunk))
        with torch.no_grad():
            self.items = torch.cat(
                [model.encode_items(item_batch(log.items, b, log.layout).to(device)) for b in blocks]
            )

    @torch.no_grad()
    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Scores of the ranking head, on the CPU.

        Args:
            requests: R of them.
            candidates: items of each request; None for all N items.

        Returns:
            [C] or [R, N] float32.
        """
        query = self.model.encode_requests(request_batch(requests).to(self.device))
        rate, support, lexical = (torch.from_numpy(x) for x in self._cross(requests, candidates))
        if candidates is None:
            shape = (len(requests), len(self.items))
            dense = (rate.view(*shape, rate.shape[1]), support, lexical.view(*shape, lexical.shape[1]))
            scores = self.model.score_head.catalogue(query, self.items, *(x.to(self.device) for x in dense))
            return scores[..., self.head].cpu()
        request = torch.from_numpy(np.repeat(np.arange(len(requests)), candidates.lengths))
        item = torch.from_numpy(candidates.values.astype(np.int64))
        blocks = []
        for first in range(0, len(item), self.chunk):
            c = slice(first, first + self.chunk)
            pairs = (request[c], item[c], rate[c], support, lexical[c])
            scores = self.model.score_head(query, self.items, *(x.to(self.device) for x in pairs))
            blocks.append(scores[:, self.head].cpu())
        return torch.cat(blocks)

    def _cross(
        self, requests: PreparedRequests, candidates: Jagged | None
    ) -> tuple[NDArray[np.float32], ...]:
        """(rate [C, X], support [R, X], lexical [C, Y]); no column where the model reads none."""
        size = len(requests) * len(self.items) if candidates is None else len(candidates.values)
        rate, support = np.empty((size, 0), np.float32), np.empty((len(requests), 0), np.float32)
        lexical = np.empty((size, 0), np.float32)
        uses = self.model.score_head
        if not (uses.uses_history or uses.uses_lexical):
            return rate, support, lexical
        found = self.cross(requests, candidates)
        if uses.uses_history:
            rate, support = found[:2]
        return rate, support, found[2] if uses.uses_lexical else lexical


def _equal(first: Jagged | None, other: Jagged | None) -> bool:
    if first is None or other is None:
        return first is other
    return np.array_equal(first.values, other.values) and np.array_equal(first.lengths, other.lengths)


class Bm25Scorer:
    """BM25 of the query and the item's text, by the first lexical feature over words.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema has no lexical feature over words.
    """

    def __init__(self, log: PreparedDataset) -> None:
        names = [f.name for f in log.schema.lexical if f.analyzer == "words"]
        if not names:
            raise DatasetError("the baseline bm25 needs a lexical feature with analyzer words in the schema")
        self.log, self.name = log, names[0]

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """BM25 scores; ties are broken by popularity in training, as a search engine would."""
        items = self.log.items
        scores = self.log.cross.match_one(self.name, requests.keys().parts["words"], candidates)
        return _with_popularity(scores, items.train_count, candidates)


class CountScorer:
    """IQP alone: C(p, q) / C(q) before the request, by the first such feature without window and segment.

    What counting can do for queries that were asked before; a model has to beat it.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema has no such feature.
    """

    def __init__(self, log: PreparedDataset) -> None:
        columns = [
            j
            for j, f in enumerate(log.schema.iqp)
            if f.key == "query" and f.window is None and f.segment is None
        ]
        if not columns:
            raise DatasetError(
                "the baseline counts needs an iqp feature with key query, without window and segment"
            )
        self.log, self.column = log, columns[0]
        self.name = log.schema.iqp[self.column].name

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """Shares of the query's engagements; ties are broken by popularity in training."""
        rate, _ = self.log.cross.history(requests.keys(), candidates, only=[self.name])
        return _with_popularity(rate[:, self.column], self.log.items.train_count, candidates)


def _with_popularity(
    scores: NDArray[np.float32], train_count: NDArray[np.int64], candidates: Jagged | None
) -> Tensor:
    """Scores with ties broken by popularity: [C], or [R, N] of the whole catalogue."""
    popularity = 1e-4 * train_count / (train_count.max() + 1)
    result: NDArray[Any]
    if candidates is None:
        result = scores.reshape(-1, len(train_count)) + popularity
    else:
        result = scores + popularity[candidates.values]
    return torch.from_numpy(result.astype(np.float32))


class TrueProbabilityScorer:
    """The chance of an engagement that a simulated log states: no ranker can do better.

    Args:
        log: the prepared log.

    Raises:
        DatasetError: the schema names no column with it.
    """

    def __init__(self, log: PreparedDataset) -> None:
        if log.schema.events.true_probability is None:
            raise DatasetError("only a simulated log has events.true_probability")

    def __call__(self, requests: PreparedRequests, candidates: Jagged | None) -> Tensor:
        """The logged candidates' probabilities."""
        if candidates is None:
            raise DatasetError("true_probability is known for the logged candidates only")
        values: NDArray[np.float32] = requests.jagged("true_probability").values
        return torch.from_numpy(np.array(values, np.float32))

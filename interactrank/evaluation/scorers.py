"""Scorers: what an evaluation can rank with. A model, BM25, and the truth of a simulated log.

Shapes: R requests, N items of the catalogue, C candidates, H heads, D embedding dim.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.data.collate import Requests, item_batch, request_batch
from interactrank.data.prepared import PreparedLog
from interactrank.data.source import LogError
from interactrank.iqp.features import Jagged
from interactrank.models import InteractRank


class Scorer(Protocol):
    """Scores the candidates of requests; higher is better."""

    def __call__(self, requests: Requests, candidates: Jagged | None) -> Tensor:
        """[C] float32 scores of the candidates (None: all N items of the catalogue, C = R * N)."""


class ModelScorer:
    """An InteractRank (sharded or not); the catalogue is encoded once.

    With a sharded model all ranks must make and call it together.

    Args:
        model: an :class:`interactrank.models.InteractRank`.
        log: the prepared log that the requests come from.
        head: position of the head that ranks.
        device: where the model is.
        chunk: items encoded at a time.
    """

    def __init__(
        self, model: InteractRank, log: PreparedLog, head: int, device: torch.device, chunk: int = 8192
    ) -> None:
        self.model, self.log, self.head, self.device = model, log, head, device
        layout = log.layout
        with torch.no_grad():
            self.items = torch.cat(
                [
                    model.encode_items(
                        item_batch(log.items, np.arange(i, min(i + chunk, len(log.items))), layout).to(device)
                    )
                    for i in range(0, len(log.items), chunk)
                ]
            )

    @torch.no_grad()
    def __call__(self, requests: Requests, candidates: Jagged | None) -> Tensor:
        """Scores of the ranking head."""
        query = self.model.encode_requests(request_batch(requests).to(self.device))
        num_requests, num_items = len(requests), len(self.items)
        if candidates is None:
            lengths, items = np.full(num_requests, num_items), np.tile(np.arange(num_items), num_requests)
        else:
            lengths, items = candidates.lengths, candidates.values
        cross, keys = self.log.cross, requests.keys()
        rate, support = cross.history(keys, candidates)
        inputs = [
            torch.from_numpy(np.repeat(np.arange(num_requests), lengths)),
            torch.from_numpy(items.astype(np.int64)),
            torch.from_numpy(rate),
            torch.from_numpy(support),
            torch.from_numpy(cross.match(keys, candidates)),
        ]
        scores: Tensor = self.model.fuse(query, self.items, *(x.to(self.device) for x in inputs))
        return scores[:, self.head].cpu()


class Bm25Scorer:
    """BM25 of the query and the item's text, by the first lexical feature over words.

    Args:
        log: the prepared log.

    Raises:
        LogError: the schema has no lexical feature over words.
    """

    def __init__(self, log: PreparedLog) -> None:
        names = [f.name for f in log.schema.lexical if f.analyzer == "words"]
        if not names:
            raise LogError("the baseline bm25 needs a lexical feature with analyzer words in the schema")
        self.log, self.name = log, names[0]

    def __call__(self, requests: Requests, candidates: Jagged | None) -> Tensor:
        """BM25 scores; ties are broken by popularity in training, as a search engine would."""
        items = self.log.items
        scores = self.log.cross.match_one(self.name, requests.keys().parts["words"], candidates)
        shown = np.tile(np.arange(len(items)), len(requests)) if candidates is None else candidates.values
        popularity = items.train_count[shown] / (items.train_count.max() + 1)
        return torch.from_numpy((scores + 1e-4 * popularity).astype(np.float32))


class TrueProbabilityScorer:
    """The chance of an engagement that a simulated log states: no ranker can do better.

    Raises:
        LogError: the schema names no column with it.
    """

    def __init__(self, log: PreparedLog) -> None:
        if log.schema.events.true_probability is None:
            raise LogError("only a simulated log has events.true_probability")

    def __call__(self, requests: Requests, candidates: Jagged | None) -> Tensor:
        """The logged candidates' probabilities."""
        if candidates is None:
            raise LogError("true_probability is known for the logged candidates only")
        values: NDArray[np.float32] = requests.jagged("true_probability").values
        return torch.from_numpy(np.array(values, np.float32))

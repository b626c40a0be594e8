"""Negatives from the catalogue: items drawn by popularity that the request did not engage with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactrank.data.collate import Candidates, Requests
from interactrank.iqp.features import CrossFeatures, Jagged


class NegativeSampler:
    """Draws items in proportion to (training count + 1)^power, without the request's own candidates.

    Args:
        train_count: [N] how often each item was a candidate in training.
        count: draws for each request; a draw that hits one of the request's candidates, or an item drawn
            before for it, is dropped.
        power: 0 draws all items alike, 1 in proportion to popularity.
        cross: computes the cross features of what was drawn, as of the request.

    Raises:
        ValueError: there are no items.
    """

    def __init__(
        self, *, train_count: NDArray[np.int64], count: int, power: float, cross: CrossFeatures
    ) -> None:
        weights = (train_count + 1.0) ** power
        self.share = weights / weights.sum()
        self.cumulative = np.cumsum(self.share)
        self.count, self.cross = count, cross

    def add(self, requests: Requests, candidates: Candidates, seed: tuple[int, ...]) -> Candidates:
        """The candidates with negatives behind those of each request; ``seed`` decides the draws."""
        num_requests, num_items = len(requests), len(self.share)
        random = np.random.default_rng(seed)
        if self.count >= num_items:  # the whole catalogue
            drawn = np.tile(np.arange(num_items), num_requests)
            log_q = np.zeros(num_items, np.float32)
        else:
            drawn = np.searchsorted(self.cumulative, random.random(num_requests * self.count))
            drawn = np.minimum(drawn, num_items - 1)
            # An item is in the sample if any of the draws hits it.
            log_q = np.log(-np.expm1(self.count * np.log1p(-self.share))).astype(np.float32)
        request = np.repeat(np.arange(num_requests), len(drawn) // max(num_requests, 1))
        own = np.repeat(np.arange(num_requests), candidates.items.lengths)
        taken = own * num_items + candidates.items.values
        fresh = np.setdiff1d(np.unique(request * num_items + drawn), taken)
        request, items = fresh // num_items, fresh % num_items
        lengths = np.bincount(request, minlength=num_requests)
        negatives = Jagged(items.astype(np.int32), lengths)
        rate, _ = self.cross.history(requests.keys(), negatives)
        heads = candidates.labels.shape[1]
        order = np.argsort(np.concatenate([own, request]), kind="stable")

        def join(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.concatenate([first, second])[order]

        return Candidates(
            Jagged(
                np.concatenate([candidates.items.values, negatives.values])[order],
                candidates.items.lengths + lengths,
            ),
            join(candidates.labels, np.zeros((len(items), heads), np.float32)),
            join(candidates.weights, np.ones(len(items), np.float32)),
            join(candidates.iqp_rate, rate),
            join(candidates.lexical, self.cross.match(requests.keys(), negatives)),
            join(candidates.log_q, log_q[items]),
        )

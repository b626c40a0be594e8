"""Negatives from the catalogue: items drawn by popularity that the request did not engage with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features import CrossFeatures
from interactrank.cross_features.jagged import Jagged, row_of_each
from interactrank.data.loading.prepared_requests import Candidates, PreparedRequests
from interactrank.data.prepared.columns import EXCLUDED
from interactrank.schema import SearchSchema


class NegativeSampler:
    """Draws items in proportion to (training count + 1)^power, without what the request engaged with.

    A draw that hits one of the request's candidates, one of its excluded items (``exclude_repeats``), or an
    item that was drawn before for it, is dropped; so an item is there with probability 1 - (1 - share)^count.

    Args:
        train_count: [N] how often each item was a candidate in training.
        count: draws for each request; N or more stand for the whole catalogue.
        power: 0 draws all items alike, 1 in proportion to popularity.
        cross: computes the cross features of what was drawn, as of the request.
        schema: weight of an impression, and whether repeats are excluded.
        only: cross features to compute, the others stay 0; None for all.
    """

    def __init__(
        self,
        *,
        train_count: NDArray[np.int64],
        count: int,
        power: float,
        cross: CrossFeatures,
        schema: SearchSchema,
        only: Collection[str] | None = None,
    ) -> None:
        self.impression_weight, self.exclude_repeats = schema.impression_weight, schema.exclude_repeats
        weights = (train_count + 1.0) ** power
        share = weights / weights.sum()
        self.num_items, self.count, self.cross, self.only = len(share), count, cross, only
        self.whole = count >= self.num_items
        self._cumulative = np.cumsum(share)
        log_q = np.zeros(self.num_items) if self.whole else np.log(-np.expm1(count * np.log1p(-share)))
        self.log_q = log_q.astype(np.float32)

    def add(self, requests: PreparedRequests, candidates: Candidates, seed: tuple[int, ...]) -> Candidates:
        """Return the candidates with negatives behind those of each request; ``seed`` decides the draws."""
        own = row_of_each(candidates.items)
        request, items = np.divmod(self._draw(requests, candidates, seed), self.num_items)
        lengths = np.bincount(request, minlength=len(requests))
        negatives = Jagged(items.astype(np.int32), lengths)
        found = self.cross.look_up(requests.keys(), negatives, only=self.only)
        order = np.argsort(np.concatenate([own, request]), kind="stable")

        def join(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([first, second])[order]

        return Candidates(
            Jagged(join(candidates.items.values, negatives.values), candidates.items.lengths + lengths),
            join(candidates.labels, np.zeros((len(items), candidates.labels.shape[1]), np.float32)),
            join(candidates.weights, np.full(len(items), self.impression_weight, np.float32)),
            join(candidates.rate, found.rate),
            join(candidates.number, found.number),
            join(candidates.counts, found.counts),
            join(candidates.log_q, self.log_q[items]),
            None
            if candidates.position is None
            else join(candidates.position, np.zeros(len(items), np.int64)),
        )

    def _draw(
        self, requests: PreparedRequests, candidates: Candidates, seed: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Return the drawn (request, item) pairs as request * N + item, ascending, none twice."""
        taken = self._pairs(candidates.items)
        if self.exclude_repeats:
            taken = np.concatenate([taken, self._pairs(requests.positions(EXCLUDED))])
        if self.whole:
            free = np.ones(len(requests) * self.num_items, bool)
            free[taken] = False
            return np.flatnonzero(free)
        chance = np.random.default_rng(seed).random(len(requests) * self.count)
        drawn = np.minimum(np.searchsorted(self._cumulative, chance), self.num_items - 1)
        request = np.repeat(np.arange(len(requests)), self.count)
        return np.setdiff1d(request * self.num_items + drawn, taken)

    def _pairs(self, items: Jagged) -> NDArray[np.int64]:
        return row_of_each(items) * self.num_items + items.values

"""Lookup: some requests and the candidates whose cross features are wanted; StoreQuery: what they meet;
FieldLookup: the candidates' field values instead of the candidates.

Shapes: R requests, C candidates, K request keys (those of all requests, one after the other), P pairs that
candidates meet, N items of the catalogue, F values of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.candidate_index import CandidateIndex, locate
from interactrank.cross_features.count_store import CountStore
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, row_of_each
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import RequestKeys

__all__ = ["FieldLookup", "Lookup", "StoreQuery", "Until"]

Until = Literal["time", "sequence_end"]
Made = TypeVar("Made")


class Lookup:
    """One look-up, which all features share, so that what two of them need is found once.

    Args:
        requests: keys and times of R requests.
        candidates: items of each request, none twice; None for the whole catalogue, C = R * N.
        num_items: N.
        fields: column of the items file -> the values of all items.
        prior_items: items that a rate without history is one of; N when left out. A catalogue that has grown
            since the model was trained keeps the number of then.
    """

    def __init__(
        self,
        requests: RequestKeys,
        candidates: Jagged | None,
        num_items: int,
        fields: Mapping[str, ItemFields] | None = None,
        prior_items: int | None = None,
    ) -> None:
        self.requests, self.candidates, self.num_items = requests, candidates, num_items
        self.prior_items = prior_items or num_items
        self.item_fields = fields or {}
        self.num_requests = len(requests.time)
        self.index = CandidateIndex(candidates, self.num_requests, num_items)
        self.num_candidates = self.num_requests * num_items if candidates is None else len(candidates.values)
        self._made: dict[Hashable, Any] = {}

    @cached_property
    def request(self) -> Int64s:
        """[C] the request of each candidate."""
        return np.repeat(np.arange(self.num_requests), self.index.lengths)

    @cached_property
    def item(self) -> Int64s:
        """[C] the item of each candidate."""
        if self.candidates is None:
            return np.tile(np.arange(self.num_items), self.num_requests)
        return self.candidates.values.astype(np.int64)

    def until(self, until: Until) -> Int64s:
        """Return [R] milliseconds: only what happened before them may count.

        Args:
            until: ``time`` of the request, or for what only this user did ``sequence_end``, where the user
                sequence ends.
        """
        return self.requests.time if until == "time" else self.requests.sequence_end

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what ``make`` gives, which is called by the first feature that asks for ``key``."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def fields(self, column: str) -> FieldLookup:
        """Return a look-up of the candidates' values of a column, one of ``settings.field_columns``."""
        return self.once(("fields", column), lambda: FieldLookup(self, self.item_fields[column]))

    def given(self, feature: str) -> NDArray[np.float64]:
        """Return [C] what came with each candidate as a candidate feature; NaN for one that has none."""
        found = np.full(self.num_candidates, np.nan)
        if self.requests.given is not None and feature in self.requests.given.values:
            candidate, place = self.once("given", self._given)
            found[candidate] = self.requests.given.values[feature][place]
        return found

    def _given(self) -> tuple[Int64s, Int64s]:
        """Return the candidates that values are given for, and the places of those."""
        assert self.requests.given is not None
        items = self.requests.given.items
        slots = row_of_each(items) * self.num_items + items.values
        if self.candidates is None:
            return slots, np.arange(len(slots))
        order = np.argsort(slots)
        wanted = self.request * self.num_items + self.item
        at = np.searchsorted(slots[order], wanted)
        known = at < len(slots)
        known[known] = slots[order[at[known]]] == wanted[known]
        candidate = np.flatnonzero(known)
        return candidate, order[at[candidate]]

    def query(self, store: CountStore, keys: str, until: Until = "time") -> StoreQuery:
        """Return what the candidates meet in a store, under the request keys of the name ``keys``."""
        return self.once(
            (id(store), keys, until),
            lambda: StoreQuery(
                store.for_keys(self.requests.keys[keys].values),
                self.requests.keys[keys],
                self.until(until),
                self.index,
                self.prior_items,
            ),
        )


class FieldLookup:
    """The distinct field values of each request's candidates, and the way back.

    Args:
        outer: the candidates.
        fields: of every item.

    Attributes:
        inner: a look-up in which field values stand for items; all F of them for the whole catalogue.
    """

    def __init__(self, outer: Lookup, fields: ItemFields) -> None:
        self.outer, self.fields = outer, fields
        count = max(fields.num_values, 1)
        if outer.candidates is None:
            self.inner = Lookup(outer.requests, None, count)
            return
        values = fields.of(outer.item)
        slots = np.repeat(outer.request, values.lengths) * count + values.values
        distinct, self._place = np.unique(slots, return_inverse=True)
        self._of_candidate = row_of_each(values)
        self._lengths = values.lengths
        per_request = np.bincount(distinct // count, minlength=outer.num_requests)
        self.inner = Lookup(outer.requests, Jagged((distinct % count).astype(np.int32), per_request), count)

    def mean(self, found: NDArray[Any]) -> NDArray[np.float64]:
        """Return [C] the mean over the values of each candidate; 0 for one without a value.

        Args:
            found: a number for each candidate of :attr:`inner`.
        """
        if self.outer.candidates is not None:
            total = np.bincount(self._of_candidate, found[self._place], self.outer.num_candidates)
            return np.asarray(total / np.maximum(self._lengths, 1))
        values, items = self.fields.values, self.outer.num_items
        item = row_of_each(values)
        sizes = np.maximum(values.lengths, 1)
        means = [np.bincount(item, row[values.values], items) / sizes for row in self._rows(found)]
        return np.concatenate([np.empty(0), *means])

    def max(self, found: NDArray[Any]) -> NDArray[np.float64]:
        """Return [C] the largest number among the values of each candidate; -inf for one without a value."""
        result = np.full(self.outer.num_candidates, -np.inf)
        if self.outer.candidates is not None:
            np.maximum.at(result, self._of_candidate, found[self._place])
            return result
        values = self.fields.values
        item, whole = row_of_each(values), result.reshape(self.outer.num_requests, -1)
        for request, row in zip(whole, self._rows(found), strict=True):
            np.maximum.at(request, item, row[values.values])
        return result

    def _rows(self, found: NDArray[Any]) -> NDArray[Any]:
        """Return [R, F] the numbers of all values for each request."""
        return np.asarray(found).reshape(self.outer.num_requests, self.inner.num_items)


class StoreQuery:
    """The pairs of one store that the candidates of some requests meet, and their counts.

    Args:
        store: engagements by key and item.
        keys: of each request.
        end: [R] milliseconds; engagements before it count.
        index: the candidates.
        prior_items: of the :class:`Lookup`.

    Attributes:
        key, rows, request, end: [K] each request key, its row in the store (-1: none), its request, and when
            its engagements end.
        which, pairs, candidate: [P] the request key of each pair, its position in the store, its candidate.
    """

    def __init__(
        self, store: CountStore, keys: Jagged, end: Int64s, index: CandidateIndex, prior_items: int
    ) -> None:
        self.store, self.num_requests, self.prior_items = store, len(end), prior_items
        self.key, self.rows, self.request = keys.values, store.rows(keys.values), row_of_each(keys)
        self.end = end[self.request]
        self.candidate_lengths = index.lengths
        self.num_candidates = int(index.lengths.sum())
        self.which, self.pairs, self.candidate = locate(store, self.rows, keys.lengths, index)

    @property
    def pair_end(self) -> Int64s:
        """[P] milliseconds: engagements of the pair before it count."""
        return self.end[self.which]

    @cached_property
    def totals(self) -> Int64s:
        """[K] engagements of each request key before its end."""
        return self.store.key_counts(self.rows, self.end)

    @cached_property
    def counts(self) -> Int64s:
        """[P] engagements of each pair before its end."""
        return self.store.pair_counts(self.pairs, self.pair_end)

    def per_request(self, values: Any = None) -> Any:
        """Return [R] sums over the keys of each request: of ``values`` [K], or of ones."""
        return np.bincount(self.request, values, self.num_requests)

    def per_candidate(self, values: Any) -> Any:
        """Return [C] sums over the pairs of each candidate of ``values`` [P]."""
        return np.bincount(self.candidate, values, self.num_candidates)

    def spread(self, values: Any) -> Any:
        """Return [C] the value [R] of each candidate's request."""
        return np.repeat(values, self.candidate_lengths)

"""FieldLookup: a look-up of the candidates' field values instead of the candidates themselves.

Shapes: R requests, C candidates, V values of all candidates, N items of the catalogue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, row_of_each
from interactrank.cross_features.lookup import Lookup

__all__ = ["FieldLookup"]


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

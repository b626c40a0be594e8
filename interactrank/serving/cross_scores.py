"""CrossScores: what cross features add to the scores of a request's candidates.

Shapes: N items of the catalogue, C candidates, H heads.
"""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import CrossFeatures, Jagged, RequestKeys
from interactrank.cross_features.pair_index import Int64s
from interactrank.models.cross_terms import CrossTerms
from interactrank.models.scoring import ScoreHead
from interactrank.serving.fresh.counts import FreshCounts
from interactrank.serving.ranking import Explanation

__all__ = ["CrossScores"]


class CrossScores:
    """Adds the cross features of one request to the dot products.

    Args:
        head: the one function of scores.
        cross: looks cross features up.
    """

    def __init__(self, head: ScoreHead, cross: CrossFeatures) -> None:
        self.head, self.cross = head, cross
        self._reads = frozenset(head.reads)
        self._compiled = CrossTerms.of(head, cross)
        self._last: CrossScores | None = None  # what `over` returned last

    def over(self, cross: CrossFeatures) -> CrossScores:
        """Return the same over the stores with what was recorded since."""
        if cross is self.cross:
            return self
        last = self._last
        if last is not None and last.cross is cross:
            return last
        other = copy(self)
        other.cross, other._last = cross, None
        if self._compiled is not None:
            recorded = {n: s.runs for n, s in cross.stores.items() if isinstance(s, FreshCounts)}
            other._compiled = self._compiled.over(recorded)
        self._last = other
        return other

    @torch.inference_mode()
    def add_to(self, dots: Tensor, keys: RequestKeys, rows: Int64s | None, weights: Tensor) -> None:
        """Add to the weighted dot products of candidates what else their scores are made of.

        Args:
            dots: [C] or [N] float32; changed.
            keys: of one request.
            rows: [C] of the catalogue; None for all.
            weights: [H] of the heads.
        """
        if self._compiled is not None and keys.given is None:
            self._compiled.add_to(dots, keys, rows, weights)
        else:
            self.slow_add_to(dots, keys, rows, weights)

    @torch.inference_mode()
    def slow_add_to(self, dots: Tensor, keys: RequestKeys, rows: Int64s | None, weights: Tensor) -> None:
        """Do what :meth:`add_to` does, by NumPy and PyTorch alone."""
        known = self.cross.known_items(keys, self._reads) if keys.given is None else None
        if known is None:
            dots += self._rest(keys, rows, weights)
            return
        at, other = _split(known, rows, self.cross.num_items)
        if other is None or 2 * len(at) > len(dots):
            dots += self._rest(keys, rows, weights)
            return
        # One of the others stands for all of them: there is nothing to tell them apart.
        some = np.append(at, other)
        rest = self._rest(keys, some if rows is None else rows[some], weights)
        place = torch.from_numpy(at)
        own = dots[place] + rest[:-1]
        dots += rest[-1]
        dots[place] = own

    @torch.inference_mode()
    def terms(self, keys: RequestKeys, weights: Tensor) -> tuple[Tensor, Int64s | None]:
        """Return what is added for each known item, and last for any other; and the rows of the known ones.

        Args:
            keys: of one request.
            weights: [H] of the heads.
        """
        known = self.cross.known_items(keys, self._reads)
        if known is None:
            return weights.new_empty(0), None
        known, other = _split(known, None, self.cross.num_items)
        if other is None:  # something is known about all items: there are no others
            return torch.cat([self._rest(keys, known, weights), weights.new_zeros(1)]), known
        return self._rest(keys, np.append(known, other), weights), known

    @torch.inference_mode()
    def explain(
        self,
        dots: Tensor,
        keys: RequestKeys,
        rows: Int64s | None,
        weights: Tensor,
        at: Int64s | None = None,
    ) -> list[Explanation]:
        """Return the parts of the scores of some candidates.

        Args:
            dots: [K] weighted dot products of those that are explained.
            keys: of one request.
            rows: [C] of the catalogue.
            weights: [H] of the heads.
            at: [K] which of the candidates are explained; None for all, K = C.
        """
        cross = self._look_up(keys, rows)
        if at is not None:
            place = torch.from_numpy(at)
            cross = CrossFeatureTensors(
                cross.rate[place], cross.support, cross.number[place], cross.counts[place]
            )
        parts = self.head.rest_parts(cross)
        features = torch.einsum("chf,h->cf", parts.features, weights)
        correction = torch.zeros(len(dots)) if parts.correction is None else parts.correction @ weights
        bias = float(parts.bias @ weights)
        raw, support = self._raw(cross)
        return [
            Explanation(
                dot=float(dots[n]),
                features=_sums(parts.names, features[n].tolist()),
                correction=float(correction[n]),
                bias=bias,
                raw={name: float(column[n]) for name, column in raw.items()},
                support={name: float(column[min(n, len(column) - 1)]) for name, column in support.items()},
            )
            for n in range(len(dots))
        ]

    def _rest(self, keys: RequestKeys, rows: Int64s | None, weights: Tensor) -> Tensor:
        return self.head.rest(self._look_up(keys, rows)) @ weights

    def _look_up(self, keys: RequestKeys, rows: Int64s | None) -> CrossFeatureTensors:
        candidates = None if rows is None else Jagged(rows, np.array([len(rows)]))
        found = self.cross.look_up(keys, candidates, only=self._reads)
        return CrossFeatureTensors(*(torch.from_numpy(x) for x in found))

    def _raw(self, cross: CrossFeatureTensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the columns of the features that are read, by name, and what they rest on."""
        of = self.cross.columns
        raw, support = {}, {}
        for j, f in enumerate(of.rates):
            raw[f.name], support[f.name] = cross.rate[:, j], cross.support[:, j]
        for j, f in enumerate(of.numbers):
            raw[f.name] = cross.number[:, j]
        for j, f in enumerate(of.ratios):
            raw[f.name], support[f.name] = cross.counts[:, j], cross.counts[:, j + len(of.ratios)]
        return (
            {name: v for name, v in raw.items() if name in self._reads},
            {name: v for name, v in support.items() if name in self._reads},
        )


def _sums(names: list[str], values: list[float]) -> dict[str, float]:
    """Return the sum of the values of each name.

    Example::

        >>> _sums(["a", "b", "a"], [1.0, 2.0, 3.0])
        {'a': 4.0, 'b': 2.0}
    """
    found = dict.fromkeys(names, 0.0)
    for name, value in zip(names, values, strict=True):
        found[name] += value
    return found


def _split(known: Int64s, rows: Int64s | None, num_items: int) -> tuple[Int64s, int | None]:
    """Return the positions of the candidates about which something is known, and one of the others, if any.

    Args:
        known: items; some may be there twice.
        rows: [C] of the catalogue; None for all.
        num_items: N.

    Example::

        >>> _split(np.array([0, 2]), np.array([5, 2, 1]), 6)
        (array([1]), 0)
        >>> _split(np.array([0, 1]), None, 2)
        (array([0, 1]), None)
    """
    mask = np.zeros(num_items, bool)
    mask[known] = True
    is_known = mask if rows is None else mask[rows]
    other = int(is_known.argmin()) if len(is_known) else 0
    return np.flatnonzero(is_known), None if not len(is_known) or is_known[other] else other

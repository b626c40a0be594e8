"""Coverage: the share of candidates about which a cross feature has history when they are ranked.

Shapes: R requests, C candidates, N items, X rates, Y numbers, Z ratios.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features import CrossFeature
from interactrank.cross_features.base import Number, Rate, Ratio
from interactrank.cross_features.count_store import CountStore
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.extras import pq
from interactrank.data.prepared.columns import (
    CANDIDATES,
    CROSS_COUNTS,
    CROSS_NUMBER,
    CROSS_RATE,
    CROSS_SUPPORT,
    SPLITS,
    TRAIN_FREQUENCY,
)
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.slices import Slice, query_frequency_slice

__all__ = ["coverage"]

Bools = NDArray[np.bool_]


class _Block(NamedTuple):
    """Some requests: candidates of each [R] and their items [C], frequency [R], the columns by name."""

    lengths: NDArray[np.int64]
    items: NDArray[np.int64]
    frequency: NDArray[np.int64]
    columns: dict[str, NDArray[np.float32]]


def coverage(dataset: PreparedDataset) -> dict[str, Any]:
    """Return, of each split, the shares of candidates with history.

    A candidate has history for a share if its key led to it before, for a rate if it was shown under the key,
    for a count or a touch if it was engaged with. Features that count nothing, such as matches of words, have
    none. Queries and items are head, torso and tail by thirds of what training searched and showed.

    Returns:
        ``{split: {"candidates": C, "features": {feature: {"all", "requests", "query": {"head", ...}, "item":
        {"head", ...}}}}}``: shares of the candidates; that of ``requests`` is of the requests with any such
        candidate. A share of nothing is None.
    """
    features = [f for f in dataset.cross.features if _counts(dataset, f)]
    by_item = query_frequency_slice(dataset.items.train_count, dataset.items.train_count)
    searched = dataset.train_queries()
    found = {}
    for split in SPLITS:
        if dataset.num_requests(split):
            found[split] = _of_split(dataset, split, features, by_item, searched)
    return found


def _of_split(
    dataset: PreparedDataset,
    split: str,
    features: list[CrossFeature[Any]],
    by_item: Slice,
    searched: NDArray[np.int64],
) -> dict[str, Any]:
    names = by_item.names
    total = np.zeros((2, len(names)), np.int64)
    known = {f.name: np.zeros((2, len(names)), np.int64) for f in features}
    of_requests = {f.name: 0 for f in features}
    for block in _blocks(dataset, split):
        by_query = query_frequency_slice(block.frequency, searched).index
        labels = [np.repeat(by_query, block.lengths), by_item.index[block.items]]
        total += [np.bincount(label, minlength=len(names)) for label in labels]
        request = np.repeat(np.arange(len(block.lengths)), block.lengths)
        for f in features:
            some = _has_history(dataset, f, block)
            known[f.name] += [np.bincount(label[some], minlength=len(names)) for label in labels]
            of_requests[f.name] += len(np.unique(request[some]))
    shares = {}
    for f in features:
        each = known[f.name]
        shares[f.name] = {
            "all": _share(each[0].sum(), total[0].sum()),
            "requests": _share(of_requests[f.name], dataset.num_requests(split)),
            "query": {n: _share(k, t) for n, k, t in zip(names, each[0], total[0], strict=True)},
            "item": {n: _share(k, t) for n, k, t in zip(names, each[1], total[1], strict=True)},
        }
    return {"candidates": int(total[0].sum()), "features": shares}


def _blocks(dataset: PreparedDataset, split: str) -> Iterator[_Block]:
    wide = {CROSS_RATE: 1, CROSS_NUMBER: 1, CROSS_COUNTS: 1}
    names = [CANDIDATES, TRAIN_FREQUENCY, CROSS_SUPPORT, *wide]
    for path in dataset.files(split):
        for batch in pq.ParquetFile(path).iter_batches(8192, columns=names):
            items, lengths = from_arrow(batch[CANDIDATES])
            columns = {name: from_arrow(batch[name]).values for name in wide}
            width = {name: len(v) // max(len(items), 1) for name, v in columns.items()}
            columns = {name: v.reshape(len(items), width[name]) for name, v in columns.items()}
            yield _Block(lengths, items, batch[TRAIN_FREQUENCY].to_numpy(), columns)


def _counts(dataset: PreparedDataset, feature: CrossFeature[Any]) -> bool:
    return any(isinstance(dataset.cross.stores[name], CountStore) for name in feature.stores)


def _has_history(dataset: PreparedDataset, feature: CrossFeature[Any], block: _Block) -> Bools:
    """Return [C] whether the feature knows anything about each candidate."""
    columns = dataset.cross.columns
    if isinstance(feature.column, Rate):
        return np.asarray(block.columns[CROSS_RATE][:, columns.rates.index(feature)] > 0)
    if isinstance(feature.column, Ratio):
        place = columns.ratios.index(feature) + len(columns.ratios)  # impressions come second
        return np.asarray(block.columns[CROSS_COUNTS][:, place] > 0)
    assert isinstance(feature.column, Number)
    values = block.columns[CROSS_NUMBER][:, columns.numbers.index(feature)]
    return np.asarray(~np.isnan(values) & (values != 0))


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None

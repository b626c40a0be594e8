"""Verify a request log: the features that were served against those that ``prepare`` computes of it.

Shapes: C candidates of a request in the log.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from interactrank.core.errors import UserError
from interactrank.core.ids import id_text
from interactrank.cross_features import Jagged
from interactrank.cross_features.pair_index import Int64s
from interactrank.data.extras import pa, pq
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.columns import REQUEST_ID, SPLITS
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings

__all__ = ["LogError", "Verified", "verify_log"]

_TOLERANCE = 1e-5
_EXAMPLES = 5


class LogError(UserError, ValueError):
    """A request log that cannot be verified; the message says why."""


@dataclass
class Verified:
    """What a verification found.

    Attributes:
        requests: that were compared.
        rows: items of these requests.
        numbers: features and supports that were compared.
        different: feature -> how many of its numbers differ.
        examples: some of them, in words.
        given: requests that brought their own sequence or user columns; the log does not have these.
        absent: requests that the dataset does not have: appended too early, or left out by ``prepare``.
    """

    requests: int = 0
    rows: int = 0
    numbers: int = 0
    different: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    examples: list[str] = field(default_factory=list)
    given: int = 0
    absent: int = 0

    @property
    def differences(self) -> int:
        """How many numbers differ."""
        return sum(self.different.values())


def verify_log(log: Path, dataset: PreparedDataset) -> Verified:
    """Compare each row of a request log with what the dataset that it was appended to says of it.

    Args:
        log: folder of the request log.
        dataset: that has the log.

    Raises:
        LogError: the folder is not a request log, or the schema has no column of requests.
    """
    schema = dataset.schema
    if schema.events.request is None:
        raise LogError("the schema has no events.request, by which requests of the log could be found")
    served = _served(log, schema.events.request, schema.events.item)
    found = Verified()
    found.given = sum(of.given for of in served.values())
    wanted = {name: of for name, of in served.items() if not of.given}
    for one, name in _requests(dataset, set(wanted)):
        _compare(dataset, one, name, wanted.pop(name), found)
    found.absent = len(wanted)
    return found


@dataclass
class _Served:
    """What was served to a request: item -> (features, supports)."""

    given: bool
    items: dict[str, tuple[dict[str, float], dict[str, float]]] = field(default_factory=dict)


def _served(log: Path, request: str, item: str) -> dict[str, _Served]:
    columns = [request, item, "served_given", "served_features", "served_support"]
    try:
        paths = sorted((log / "events").iterdir())
        table = pa.concat_tables(pq.read_table(path, columns=columns).select(columns) for path in paths)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise LogError(f"'{log}' is not a request log of interactrank serve ({error})") from None
    found: dict[str, _Served] = {}
    for name, own, given, features, support in zip(*(table[c].to_pylist() for c in columns), strict=True):
        if features is not None:
            of = found.setdefault(id_text(name) or "", _Served(bool(given)))
            of.items[id_text(own) or ""] = (dict(features), dict(support))
    if not found:
        raise LogError(f"'{log}' has no row with features that were served")
    return found


def _requests(dataset: PreparedDataset, wanted: set[str]) -> Iterator[tuple[PreparedRequests, str]]:
    """Yield the requests of the dataset that are wanted."""
    for split in SPLITS:
        if not dataset.num_requests(split):
            continue
        names = [id_text(v) or "" for v in dataset.read(split, [REQUEST_ID])[REQUEST_ID].to_pylist()]
        settings = LoaderSettings(batch_requests=1, prefetch=0)
        loader = SearchLoader(dataset, split, settings, shuffle=False)
        for name, one in zip(names, loader.requests(), strict=True):
            if name in wanted:
                yield one, name


def _compare(
    dataset: PreparedDataset, one: PreparedRequests, name: str, served: _Served, into: Verified
) -> None:
    rows = _rows(dataset, list(served.items))
    known = [(item, row) for item, row in zip(served.items, rows.tolist(), strict=True) if row >= 0]
    candidates = Jagged(np.array([row for _, row in known], np.int64), np.array([len(known)]))
    features, support = _by_name(dataset, one, candidates)
    into.requests += 1
    for n, (item, _) in enumerate(known):
        into.rows += 1
        for kind, ours, theirs in zip(("", " support"), (features, support), served.items[item], strict=True):
            for feature, number in theirs.items():
                into.numbers += 1
                expected = float(ours[feature][n])
                if not _same(number, expected):
                    into.different[feature] += 1
                    if len(into.examples) < _EXAMPLES:
                        into.examples.append(
                            f"request {name}, item {item}: {feature}{kind} was {number:g}, is {expected:g}"
                        )


def _rows(dataset: PreparedDataset, items: list[str]) -> Int64s:
    row = {item: n for n, item in enumerate(dataset.items.ids)}
    return np.array([row.get(item, -1) for item in items], np.int64)


def _by_name(
    dataset: PreparedDataset, one: PreparedRequests, candidates: Jagged
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return feature -> [C] numbers, and feature -> [C] supports."""
    found = dataset.cross.look_up(one.keys(), candidates)
    of, size = dataset.cross.columns, int(candidates.lengths.sum())
    numbers: dict[str, Any] = {f.name: found.rate[:, j] for j, f in enumerate(of.rates)}
    support: dict[str, Any] = {f.name: np.repeat(found.support[:, j], size) for j, f in enumerate(of.rates)}
    numbers |= {f.name: found.number[:, j] for j, f in enumerate(of.numbers)}
    numbers |= {f.name: found.counts[:, j] for j, f in enumerate(of.ratios)}
    support |= {f.name: found.counts[:, j + len(of.ratios)] for j, f in enumerate(of.ratios)}
    return numbers, support


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) or (math.isnan(a) and math.isnan(b))

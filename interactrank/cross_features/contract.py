"""check_feature: a cross feature is tried on a made-up log of a few requests before anything long begins."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.base import CrossFeature, CrossFeatureError
from interactrank.cross_features.features import CrossFeatures, keys_of
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import per_row
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import EngagementRows, RequestFacts, StoreInputs
from interactrank.schema import SearchSchema

__all__ = ["check_feature"]

ITEMS = 5
DAY = 86_400_000
NOW = 1_700_000_000_000


def check_feature(feature: CrossFeature[Any], schema: SearchSchema) -> None:
    """Check what a feature computes for a made-up log of the schema; takes milliseconds.

    It must give a number for each candidate and, for a rate, a support for each request; a candidate's number
    must be the same among some candidates as in the whole catalogue; and nothing may change when engagements
    are added at or after the moment of the request. A feature that reads columns of the items file is not
    tried, as their values cannot be made up.

    Raises:
        CrossFeatureError: names what is wrong.
    """
    if feature.settings.item_columns:
        return
    with tempfile.TemporaryDirectory() as folder:
        past = _look_up(feature, schema, Path(folder) / "past", future=False)
        planted = _look_up(feature, schema, Path(folder) / "future", future=True)
    for before, after in zip(past, planted, strict=True):
        if not np.array_equal(before, after, equal_nan=True):
            raise CrossFeatureError(
                f"cross feature '{feature.name}': values change with engagements at or after the request; "
                "let rows() give the time of the engagement, and count before lookup.until(...)"
            )


def _look_up(
    feature: CrossFeature[Any], schema: SearchSchema, folder: Path, *, future: bool
) -> list[NDArray[np.float32]]:
    block = _Block(schema, future=future)
    stores = {}
    for name in feature.stores:
        rows = [feature.rows_of(name, b) for b in (block, *block.later())]
        rows += feature.sequence_rows(_Sequences(block))
        feature.build(folder / name, _inputs([r for r in rows if r is not None]))
        stores[name] = feature.open(folder / name)
    fields = {column: block.fields(column) for column in feature.settings.field_columns}
    one = CrossFeatures([feature], stores=stores, num_items=ITEMS, fields=fields)
    facts = _facts(schema, time=np.full(4, NOW))
    keys = keys_of([feature], facts)
    whole = one.look_up(keys, check=True)
    some = one.look_up(keys, per_row([[4, 0], [], [2], [1, 3, 0]]), check=True)
    at = np.array([4, 0, 2 * ITEMS + 2, 3 * ITEMS + 1, 3 * ITEMS + 3, 3 * ITEMS])
    for name in ("rate", "number", "counts"):
        listed, catalogue = getattr(some, name), getattr(whole, name)
        if not np.allclose(listed, catalogue[at], equal_nan=True):
            raise CrossFeatureError(
                f"cross feature '{feature.name}': a candidate's number depends on the other candidates: "
                "it differs between some of them and the whole catalogue"
            )
    if not np.array_equal(some.support, whole.support):
        raise CrossFeatureError(f"cross feature '{feature.name}': the support depends on the candidates")
    return list(whole)


def _inputs(rows: Sequence[EngagementRows]) -> StoreInputs:
    key, item, time = (
        np.concatenate([np.asarray(getattr(r, name), np.int64) for r in rows] or [np.empty(0, np.int64)])
        for name in EngagementRows._fields
    )
    by_pair, by_key = np.lexsort((time, item, key)), np.lexsort((time, key))
    return StoreInputs(
        by_pair=lambda: iter([EngagementRows(key[by_pair], item[by_pair], time[by_pair])]),
        by_key=lambda: iter([time[by_key]]),
        items={},
        num_items=ITEMS,
    )


def _facts(schema: SearchSchema, time: Int64s) -> RequestFacts:
    return RequestFacts(
        queries=["red hat", "hat", "red hat", "blue"],
        users=["ada", "ada", "bob", None],
        segments={name: ["x", "x", "y", None] for name in schema.segments},
        time=time,
        sequence_end=time,
        sequence_items=per_row([[0, 2], [0], [2, 3], []]),
        same_query_items=per_row([[0], [], [2], []]),
        sessions=["1", "1", None, "2"],
    )


class _Block:
    """Four requests of the days before; with ``future``, everything else is engaged with from now on."""

    def __init__(self, schema: SearchSchema, *, future: bool, days_ago: Sequence[int] = (9, 5, 3, 1)) -> None:
        self.schema = schema
        self.facts = _facts(schema, time=NOW - DAY * np.array(days_ago))
        self.items = per_row([[0, 1], [0, 2], [2, 3, 4], [1]])
        self.past = np.array([True, False, True, False, True, True, False, False])
        self.future = future

    def later(self) -> list[_Block]:
        """Return, with ``future``, the same requests made at this very moment and later."""
        return [_Block(self.schema, future=False, days_ago=(0, 0, -1, -2))] if self.future else []

    def shown(self) -> NDArray[np.bool_]:
        return np.ones(len(self.past), bool)

    def fields(self, column: str) -> ItemFields:
        return ItemFields.from_column([["a", "b"], "a", "c", None, "b"])

    def engaged(self, engagement: str) -> NDArray[np.bool_]:
        return self.past | self.future

    def engaged_at(self, engagement: str) -> Int64s:
        then = np.repeat(self.facts.time, self.items.lengths) + 1000
        later = NOW + DAY * np.arange(len(then))
        later[np.flatnonzero(~self.past)[0]] = NOW  # at the very moment
        return np.where(self.past, then, later)


@dataclass(frozen=True)
class _Sequences:
    block: _Block

    def shared(self) -> Iterator[EngagementRows]:
        yield self._rows([(0, 0), (0, 2), (2, 0), (2, 2), (2, 3), (3, 2), (3, 3)])

    def queries(self) -> Iterator[EngagementRows]:
        yield self._rows([(0, 1), (2, 1), (2, 2), (3, 2), (4, 3)])

    def _rows(self, pairs: Iterable[tuple[int, int]]) -> EngagementRows:
        key, item = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        past = NOW - DAY * (1 + np.arange(len(key)))
        if not self.block.future:
            return EngagementRows(key, item, past)
        return EngagementRows(
            *(np.concatenate([a, b]) for a, b in ((key, key), (item, item), (past, past * 0 + NOW)))
        )

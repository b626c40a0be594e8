"""CrossTerms: what cross features add to the scores of a request's candidates, compiled.

A program says which stores, keys and windows a model's features read, and how its head makes a score of them.
For a request C++ then looks up the candidates with a history, and one of each class of the others: items with
the same counts over all requests and the same values of their fields.

Shapes: N items of the catalogue, C candidates, H heads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from interactrank.core.compiled import load_compiled
from interactrank.cross_features import CrossFeature, CrossFeatures, EngagementCountStore, RequestKeys, Term
from interactrank.cross_features.pair_index import Int64s
from interactrank.models.cross_terms import structs
from interactrank.models.scoring import ScoreHead

__all__ = ["CrossTerms"]

_SOURCE = Path(__file__).with_name("cross_terms.cpp")
KINDS = ("share", "geometric", "count", "rate", "recency", "order", "cosine", "match")  # order of Kind in C++
_MIXES = 8  # weights of heads whose structs are kept


class CrossTerms:
    """The compiled form of :meth:`CrossFeatures.look_up` and :meth:`ScoreHead.rest` for single requests.

    Threads may share it. Use :meth:`of`.

    Args:
        library: of ``cross_terms.cpp``.
        head: of a model in evaluation mode, whose weights stay as they are.
        cross: the features that it reads, and others.
        terms: the forms of those that it reads.
    """

    def __init__(
        self, library: Any, head: ScoreHead, cross: CrossFeatures, terms: list[tuple[CrossFeature, Term]]
    ) -> None:
        self._library, self._head, self._held = library, head, structs.Held()
        self._held_runs: structs.Held | None = None
        self.num_items = cross.num_items
        self._key_names: list[str] = []
        self._mixes: dict[tuple[float, ...], Any] = {}
        arrays = _Program(self._held, cross, head, self._key_names)
        for feature, term in terms:
            arrays.add(feature, term)
        self._program = _Owned(library, library.interactrank_program(*arrays.arguments()))
        self._store_names = list(arrays.stores)
        self._runs: tuple[Any, Any] = (None, None)

    @classmethod
    def of(cls, head: ScoreHead, cross: CrossFeatures) -> CrossTerms | None:
        """Return the compiled form; None without a compiler, or if a feature has no such form.

        Args:
            head: of a model in evaluation mode.
            cross: of its schema.
        """
        library = _library()
        reads = frozenset(head.reads)
        features = [f for f in cross.features if f.name in reads]
        terms = [f.term() for f in features]
        known = [(f, term) for f, term in zip(features, terms, strict=True) if term is not None]
        if library is None or not known or len(known) < len(features):
            return None
        held = structs.Held()
        stores = {s for f in features for s in f.stores}
        if any(structs.store_of(cross.stores[s], held) is None for s in stores):
            return None
        if structs.head_of(head, head.project.bias.new_ones(head.project.heads), held) is None:
            return None
        return cls(library, head, cross, known)

    def over(self, runs: Mapping[str, Sequence[EngagementCountStore]]) -> CrossTerms:
        """Return the same with what was counted since the stores were written.

        Args:
            runs: store -> count stores with exact times, whose rows are added to the store's.
        """
        other, held = copy(self), structs.Held()
        of = [runs.get(name, ()) for name in self._store_names]
        stores: list[Any] = [structs.store_of(run, held) for some in of for run in some]
        offsets = np.cumsum([0, *map(len, of)])
        other._runs = (structs.Store * len(stores))(*stores), _Kept(offsets)
        other._held_runs = held
        return other

    def add_to(self, dots: Tensor, keys: RequestKeys, rows: Int64s | None, weights: Tensor) -> None:
        """Add to the weighted dot products of candidates what else their scores are made of.

        Args:
            dots: [C] or [N] float32 in one piece; changed.
            keys: of one request.
            rows: [C] int64 of the catalogue, none twice; None for all.
            weights: [H] of the heads.
        """
        size = len(dots)
        self._check(rows, size)
        assert dots.is_contiguous()
        at_rows = None if rows is None else np.ascontiguousarray(rows, np.int64)
        arguments = self._arguments(keys, weights, at_rows, size)
        self._library.interactrank_add(*arguments, ctypes.c_void_p(dots.data_ptr()))

    def look_up(self, keys: RequestKeys, rows: Int64s | None) -> dict[str, Any]:
        """Return what the score reads: rate [X, C], support [X], number [Y, C], engaged and shown [Z, C].

        Args:
            keys: of one request.
            rows: [C] of the catalogue, none twice; None for all.
        """
        size = self.num_items if rows is None else len(rows)
        self._check(rows, size)
        at_rows = None if rows is None else np.ascontiguousarray(rows, np.int64)
        rates, numbers, ratios = len(self._head.rates), len(self._head.numbers), len(self._head.ratios) // 2
        out = {
            "rate": np.zeros((rates, size), np.float32),
            "support": np.zeros(rates, np.float32),
            "number": np.zeros((numbers, size), np.float32),
            "engaged": np.zeros((ratios, size), np.float32),
            "shown": np.zeros((ratios, size), np.float32),
        }
        weights = self._head.project.bias.new_ones(self._head.project.heads)
        arguments = self._arguments(keys, weights, at_rows, size)
        self._library.interactrank_look_up(
            *arguments, *(ctypes.c_void_p(x.ctypes.data) for x in out.values())
        )
        return out

    def _check(self, rows: Int64s | None, size: int) -> None:
        expected = self.num_items if rows is None else len(rows)
        if size != expected:
            raise ValueError(f"{size} dot products for {expected} candidates")
        if rows is not None and size and not 0 <= rows.min() <= rows.max() < self.num_items:
            raise IndexError(f"rows lie in {rows.min()}..{rows.max()}; there are {self.num_items} items")

    def _arguments(
        self, keys: RequestKeys, weights: Tensor, rows: Int64s | None, size: int
    ) -> tuple[Any, ...]:
        lists = [keys.keys[name].values for name in self._key_names]
        values = np.concatenate([*lists, np.empty(0, np.int64)]).astype(np.int64, copy=False)
        offsets = np.cumsum([0, *map(len, lists)])
        return (
            ctypes.c_void_p(self._program.address),
            ctypes.byref(self._mix(weights)),
            *self._runs,
            _Kept(values),
            _Kept(offsets),
            ctypes.c_int64(int(keys.time[0])),
            ctypes.c_int64(int(keys.sequence_end[0])),
            None if rows is None else _Kept(rows),
            ctypes.c_int64(size),
        )

    def _mix(self, weights: Tensor) -> Any:
        """Return the struct of the head for some weights."""
        name = tuple(weights.tolist())
        found = self._mixes.get(name)
        if found is None:
            held = structs.Held()
            found = structs.head_of(self._head, weights, held)
            assert found is not None  # see `of`
            found.held = held
            mixes = dict(list(self._mixes.items())[1 - _MIXES :])
            self._mixes = {**mixes, name: found}  # a new one, as other threads may read the old one
        return found


class _Owned:
    """A program of the library, which is freed with the last that uses it."""

    def __init__(self, library: Any, address: int) -> None:
        self._library, self.address = library, address

    def __del__(self) -> None:
        self._library.interactrank_program_free(ctypes.c_void_p(self.address))


class _Kept:
    """An argument of a C function: the address of an array, which lives as long."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._as_parameter_ = ctypes.c_void_p(array.ctypes.data)


class _Program:
    """The arrays of a program while it is made."""

    def __init__(
        self, held: structs.Held, cross: CrossFeatures, head: ScoreHead, key_names: list[str]
    ) -> None:
        self.held, self.cross, self.key_names = held, cross, key_names
        self.stores: dict[str, Any] = {}
        self.groups: dict[tuple[Any, ...], Any] = {}
        self.fields: dict[str, Any] = {}
        self.features: list[Any] = []
        self.counted = 0
        reads = frozenset(head.reads)
        columns = cross.columns
        self.columns = {
            f.name: n
            for of in (columns.rates, columns.numbers, columns.ratios)
            for n, f in enumerate([f for f in of if f.name in reads])
        }

    def add(self, feature: CrossFeature, term: Term) -> None:
        """Add a feature and what it reads."""
        groups = [self._group(store, term) for store in feature.stores]
        counted = -1
        if term.everywhere and term.field is None:
            counted, self.counted = self.counted, self.counted + len(groups)
        self.features.append(
            structs.Feature(
                kind=KINDS.index(term.kind),
                group=groups[0],
                shown=groups[1] if len(groups) > 1 else -1,
                window=term.window_ms or 0,
                column=self.columns[feature.name],
                counted=counted,
            )
        )

    def arguments(self) -> tuple[Any, ...]:
        """Return those of ``interactrank_program``."""
        found: list[Any] = []
        for kind, of in (
            (structs.Store, self.stores.values()),
            (structs.Group, self.groups.values()),
            (structs.Feature, self.features),
            (structs.Field, self.fields.values()),
        ):
            found += [(kind * len(of))(*of), ctypes.c_int64(len(of))]
        return (*found, ctypes.c_int64(self.cross.num_items), ctypes.c_int64(self.cross.prior_items))

    def _group(self, store: str, term: Term) -> int:
        if store not in self.stores:
            self.stores[store] = structs.store_of(self.cross.stores[store], self.held)
        if term.keys not in self.key_names:
            self.key_names.append(term.keys)
        if term.field is not None and term.field not in self.fields:
            assert self.cross.fields is not None
            self.fields[term.field] = structs.field_of(self.cross.fields[term.field], self.held)
        everywhere = 0 if term.everywhere and term.field is None else -1
        key = (store, term.keys, term.own, term.field, everywhere)
        if key not in self.groups:
            self.groups[key] = structs.Group(
                store=list(self.stores).index(store),
                keys=self.key_names.index(term.keys),
                own=int(term.own),
                field=-1 if term.field is None else list(self.fields).index(term.field),
                everywhere=everywhere,
            )
        return list(self.groups).index(key)


@cache
def _library() -> Any:
    library = load_compiled(_SOURCE, ("-ffp-contract=fast",))
    if library is not None:
        library.interactrank_program.restype = ctypes.c_void_p
        library.interactrank_add.restype = library.interactrank_look_up.restype = None
        library.interactrank_program_free.restype = None
    return library

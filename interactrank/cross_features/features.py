"""CrossFeatures: all cross features of a schema, for any candidates, as of their requests.

One code serves logged candidates, drawn negatives, the whole catalogue and, later, serving.

Shapes: R requests, C candidates, N items of the catalogue, X rates, Y numbers and Z ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.base import (
    Category,
    CrossFeature,
    CrossFeatureError,
    Found,
    Number,
    Rate,
    Ratio,
)
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.registry import CrossColumns, features_of
from interactrank.cross_features.requests import GivenValues, RequestFacts, RequestKeys
from interactrank.schema import SearchSchema

__all__ = [
    "FIELDS",
    "STORES",
    "CrossArrays",
    "CrossFeatures",
    "field_columns",
    "field_folder",
    "key_names",
    "keys_of",
]

STORES = "cross_features"  # folder of a dataset with a folder for each store
FIELDS = "item_fields"  # folder of a dataset with a folder for each column by whose values is counted
Floats = NDArray[np.float32]


class CrossArrays(NamedTuple):
    """The columns of C candidates, all float32.

    Args:
        rate: [C, X].
        support: [R, X].
        number: [C, Y].
        counts: [C, 2 Z], the engagements of each ratio, then the impressions of each.
    """

    rate: Floats
    support: Floats
    number: Floats
    counts: Floats


class CrossFeatures:
    """Computes the cross features of a dataset.

    Args:
        features: in the order of the schema.
        stores: what each store's :meth:`CrossFeature.open` returned.
        num_items: N.
        fields: column of the items file -> the values by which features count.
        prior_items: items that a rate without history is one of; N when left out.
    """

    def __init__(
        self,
        features: list[CrossFeature[Any]],
        *,
        stores: Mapping[str, Any],
        num_items: int,
        fields: Mapping[str, ItemFields] | None = None,
        prior_items: int | None = None,
    ) -> None:
        self.prior_items = prior_items or num_items
        self.features, self.stores, self.num_items, self.fields = features, stores, num_items, fields
        self.columns = CrossColumns.of_features(features)

    @classmethod
    def open(
        cls, folder: Path, schema: SearchSchema, num_items: int, prior_items: int | None = None
    ) -> CrossFeatures:
        """Open the stores that ``prepare`` wrote into the dataset ``folder``; arguments as above."""
        features, stores = features_of(schema), {}
        for feature in features:
            for name in feature.stores:
                if name not in stores:
                    stores[name] = feature.open(folder / STORES / name)
        fields = {c: ItemFields.open(folder / FIELDS / field_folder(c)) for c in field_columns(features)}
        return cls(features, stores=stores, num_items=num_items, fields=fields, prior_items=prior_items)

    def look_up(
        self,
        requests: RequestKeys,
        candidates: Jagged | None = None,
        *,
        only: Collection[str] | None = None,
        check: bool = False,
    ) -> CrossArrays:
        """Compute the columns of candidates.

        Args:
            requests: their keys and times.
            candidates: items of each request, none twice; None for all N items of the catalogue, C = R * N.
            only: features that are wanted, the others stay 0; None for all.
            check: refuse values that the score cannot read.

        Raises:
            CrossFeatureError: a feature gives another shape than [C] or [R]; with ``check`` also for NaN and
                infinity where its column allows none, and for a rate that is outside of 0..1.
        """
        lookup = self._lookup(requests, candidates)
        rates, numbers, ratios = self.columns.rates, self.columns.numbers, self.columns.ratios
        out = CrossArrays(
            np.zeros((lookup.num_candidates, len(rates)), np.float32),
            np.zeros((lookup.num_requests, len(rates)), np.float32),
            np.zeros((lookup.num_candidates, len(numbers)), np.float32),
            np.zeros((lookup.num_candidates, 2 * len(ratios)), np.float32),
        )
        for feature in self.features:
            if only is not None and feature.name not in only:
                continue
            found = self._find(feature, lookup)
            if check:
                _check_values(feature, found)
            if isinstance(feature.column, Rate):
                j = rates.index(feature)
                out.rate[:, j], out.support[:, j] = found.values, found.support
            elif isinstance(feature.column, Ratio):
                j = ratios.index(feature)
                out.counts[:, j], out.counts[:, j + len(ratios)] = found.values, found.support
            else:
                out.number[:, numbers.index(feature)] = found.values
        return out

    def look_up_one(self, name: str, requests: RequestKeys, candidates: Jagged | None = None) -> Floats:
        """Return [C] the values of the feature of that name; see :meth:`look_up`."""
        return self.find_one(name, requests, candidates).values.astype(np.float32)

    def find_one(self, name: str, requests: RequestKeys, candidates: Jagged | None = None) -> Found:
        """Return what the look-up of the feature of that name gives; see :meth:`look_up`."""
        feature = next(f for f in self.features if f.name == name)
        return self._find(feature, self._lookup(requests, candidates))

    def _lookup(self, requests: RequestKeys, candidates: Jagged | None) -> Lookup:
        return Lookup(requests, candidates, self.num_items, self.fields, self.prior_items)

    def known_items(self, requests: RequestKeys, only: Collection[str]) -> Int64s | None:
        """Return the items that some feature knows something about for one request; some are there twice.

        Args:
            requests: keys of one request.
            only: the features that are wanted.

        Returns:
            Rows of the catalogue; None if any item may have numbers of its own.
        """
        found = [np.empty(0, np.int64)]
        for feature in self.features:
            if feature.name in only:
                items = feature.known_items(requests, self._store_of(feature))
                if items is None:
                    return None
                found.append(items)
        return np.concatenate(found)

    def _store_of(self, feature: CrossFeature[Any]) -> Any:
        stores = {name: self.stores[name] for name in feature.stores}
        return stores if len(stores) > 1 else next(iter(stores.values()), None)

    def _find(self, feature: CrossFeature[Any], lookup: Lookup) -> Found:
        found = feature.look_up(lookup, self._store_of(feature))
        _check_shape(
            feature, "values", found.values, lookup.num_candidates, "[C], a number for each candidate"
        )
        if isinstance(feature.column, Rate):
            _check_shape(
                feature, "support", found.support, lookup.num_requests, "[R], a count for each request"
            )
        if isinstance(feature.column, Ratio):
            _check_shape(
                feature, "support", found.support, lookup.num_candidates, "[C], impressions of each candidate"
            )
        return found


def field_columns(features: list[CrossFeature[Any]]) -> list[str]:
    """Return the columns of the items file by whose values features count."""
    return list(dict.fromkeys(c for f in features for c in f.settings.field_columns))


def field_folder(column: str) -> str:
    """Return a column's name as one of a folder.

    Example::

        >>> field_folder("made by/for")
        'made%20by%2Ffor'
    """
    return quote(column, safe="")


def key_names(features: list[CrossFeature[Any]]) -> dict[str, CrossFeature[Any]]:
    """Return the name of each key that features need, with the first feature that makes it."""
    owners: dict[str, CrossFeature[Any]] = {}
    for feature in features:
        for name in feature.key_names:
            owners.setdefault(name, feature)
    return owners


def keys_of(
    features: list[CrossFeature[Any]], requests: RequestFacts, given: GivenValues | None = None
) -> RequestKeys:
    """Return the keys under which requests are counted and looked up.

    Args:
        features: of the schema.
        requests: R of them.
        given: what came with their candidates.

    Raises:
        CrossFeatureError: a feature gives keys for another number of requests.
    """
    keys = {}
    for name, feature in key_names(features).items():
        keys[name] = feature.keys_once(name, requests)
        _check_shape(feature, f"keys '{name}'", keys[name].lengths, len(requests), "a list for each request")
    return RequestKeys(keys, requests.time, requests.sequence_end, given)


def _check_shape(feature: CrossFeature[Any], what: str, found: Any, size: int, wanted: str) -> None:
    shape = getattr(found, "shape", None)
    if shape != (size,):
        got = f"an array of shape {list(shape)}" if shape is not None else repr(found)
        raise CrossFeatureError(
            f"cross feature '{feature.name}': its {what} must be [{size}] ({wanted}), found {got}"
        )


def _check_values(feature: CrossFeature[Any], found: Found) -> None:
    values, column = found.values, feature.column
    allowed = np.isfinite(values)
    if isinstance(column, Number) and column.may_be_unknown:
        allowed |= np.isnan(values)
    rule = "finite"
    if isinstance(column, Category):
        allowed &= (values >= 0) & (values < column.size) & (values == np.floor(values))
        rule = f"whole numbers in 0..{column.size - 1}"
    if isinstance(column, Ratio):
        allowed &= values >= 0
        rule = "0 or more and finite, as counts are"
    if isinstance(column, Rate):
        allowed &= (values >= 0) & (values <= 1 + 1e-6)
        rule = "in 0..1, as rates are"
    support = None if isinstance(column, Number | Category) else found.support
    if support is not None and not (np.isfinite(support) & (support >= 0)).all():
        raise CrossFeatureError(f"cross feature '{feature.name}': its support must be 0 or more and finite")
    if not allowed.all():
        wrong = values[~allowed][0]
        remedy = "; say Number(may_be_unknown=True) if NaN stands for unknown" if np.isnan(wrong) else ""
        raise CrossFeatureError(
            f"cross feature '{feature.name}': its values must be {rule}, found {wrong}{remedy}"
        )

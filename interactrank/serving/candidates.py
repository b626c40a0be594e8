"""The candidates of a request: which rows of the catalogue, and what came with them.

Shapes: N items of the catalogue, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactrank.core.ids import id_text
from interactrank.core.settings import near
from interactrank.cross_features import GivenValues, Jagged
from interactrank.cross_features.candidate import candidate_codes
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.extras import pa
from interactrank.schema import SearchSchema
from interactrank.serving.errors import RequestError
from interactrank.serving.item_ids import ItemIds

__all__ = ["CandidateReader", "Candidates", "UnknownItems"]

UnknownItems = Literal["skip", "error"]


class Candidates(NamedTuple):
    """The candidates of one request.

    Args:
        rows: [C] int64 of the catalogue, none twice; None for all N.
        unknown: ids that the catalogue does not have.
        given: candidate features; None if the model reads none.
    """

    rows: Int64s | None
    unknown: list[str]
    given: GivenValues | None


class CandidateReader:
    """Reads candidates.

    Args:
        schema: which candidate features there are.
        ids: of the catalogue.
        unknown_items: ``skip`` ignores ids that the catalogue does not have.
    """

    def __init__(self, schema: SearchSchema, ids: ItemIds, unknown_items: UnknownItems) -> None:
        self._features, self._ids, self._unknown_items = schema.features.candidate, ids, unknown_items

    def read(
        self, candidates: Sequence[str] | Ints | None, features: Mapping[str, Sequence[Any]] | None
    ) -> Candidates:
        """Read the candidates of one request.

        Args:
            candidates: ids, also as an Arrow array, or an array of rows; None for the whole catalogue.
            features: candidate feature -> a value for each candidate.

        Raises:
            RequestError: an item is unknown (if that is an error), a row is outside of the catalogue, or a
                candidate feature is absent, unknown, or has another length or something else than numbers.
        """
        self._check_features(candidates, features)
        if candidates is None:
            return Candidates(None, [], None)
        rows, unknown = self._rows(candidates)
        kept = np.flatnonzero(rows >= 0) if unknown else np.arange(len(rows))
        if self._has_twice(rows[kept]):
            _, first = np.unique(rows[kept], return_index=True)
            kept = kept[np.sort(first)]
        given = None
        if self._features and features is not None:
            read = {}
            for f in self._features:
                values = [features[f.name][n] for n in kept.tolist()]
                read[f.name] = candidate_codes(f, values) if f.kind == "id" else _numbers(f.name, values)
            given = GivenValues(Jagged(rows[kept].astype(np.int32), np.array([len(kept)])), read)
        return Candidates(rows[kept], unknown, given)

    def _has_twice(self, rows: Int64s) -> bool:
        if len(rows) * 50 < len(self._ids):  # a mark for each item of the catalogue costs more than sorting
            return len(np.unique(rows)) < len(rows)
        marks = np.zeros(len(self._ids), bool)
        marks[rows] = True
        return int(np.count_nonzero(marks)) < len(rows)

    def _rows(self, candidates: Sequence[str] | Ints) -> tuple[Int64s, list[str]]:
        if isinstance(candidates, np.ndarray) and candidates.dtype.kind in "iu":
            rows = candidates.astype(np.int64, copy=False)
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(self._ids):
                raise RequestError(
                    f"rows of candidates lie in {rows.min()}..{rows.max()}; those of the catalogue are "
                    f"0..{len(self._ids) - 1}"
                )
            return rows, []
        names: Any = candidates
        if not isinstance(names, pa.Array):
            names = [c if isinstance(c, str) else id_text(c) or "" for c in candidates]
        rows = self._ids.rows(names)
        unknown = [str(names[n]) for n in np.flatnonzero(rows < 0).tolist()]
        if unknown and self._unknown_items == "error":
            raise RequestError(
                f"the catalogue has no item '{unknown[0]}' ({len(unknown)} unknown candidates in all)"
            )
        return rows, unknown

    def _check_features(
        self, candidates: Sequence[str] | Ints | None, features: Mapping[str, Sequence[Any]] | None
    ) -> None:
        wanted = [f.name for f in self._features]
        for name in features or {}:
            if name not in wanted:
                raise RequestError(
                    f"features: the model has no candidate feature '{name}'{near(name, wanted)}"
                )
        if wanted and candidates is None:
            raise RequestError(
                f"the model reads candidate features ({', '.join(wanted)}): name the candidates, and give "
                "these for each"
            )
        for name in wanted:
            if features is None or name not in features:
                raise RequestError(
                    f"features: '{name}' is absent; give a value for each candidate, or None where it is not "
                    "known"
                )
            if candidates is not None and len(features[name]) != len(candidates):
                raise RequestError(
                    f"features: '{name}' has {len(features[name])} values for {len(candidates)} candidates"
                )


def _numbers(name: str, values: list[Any]) -> NDArray[np.float32]:
    """Return numbers; what float32 cannot hold is unknown, as in ``prepare``."""
    try:
        found = np.array([np.nan if v is None else v for v in values], np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"features: '{name}' holds something else than numbers and None") from None
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))

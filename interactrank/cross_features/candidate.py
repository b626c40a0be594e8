"""Candidate features as cross features: what the log says of the very pair of request and item.

They are not looked up as of a moment: they come with the candidate, in a log as in a request that is served.
An item that was not a candidate has none. Shapes: R requests, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interactrank.core.ids import id_text
from interactrank.cross_features.base import Category, Column, CrossFeature, Found, Number
from interactrank.cross_features.lookup import Lookup
from interactrank.cross_features.text import hash63
from interactrank.schema import CandidateFeature, CrossFeatureSettings, SearchSchema

__all__ = ["Candidate", "candidate_codes", "candidate_cross_features"]


class CandidateSettings(CrossFeatureSettings):
    """One form of a candidate feature; made of ``features.candidate``, not written under cross_features."""

    kind: Literal["candidate"] = "candidate"
    feature: CandidateFeature
    form: Literal["value", "centred", "rank", "id"]

    @property
    def name(self) -> str:
        """Such as ``price_centred``; the value and the id are called as the feature."""
        return self.feature.columns[self.form]


class Candidate(CrossFeature[CandidateSettings]):
    """A form of a candidate feature; unlike all others it may depend on the request's other candidates."""

    Settings = CandidateSettings
    reads_sequence = False

    @property
    def column(self) -> Column:  # type: ignore[override]  # it depends on the settings
        """A number that may be unknown, or a category."""
        if self.settings.form == "id":
            return Category(self.settings.feature.values + 1)
        return Number(may_be_unknown=True)

    def look_up(self, lookup: Lookup, store: Any) -> Found:
        """Return [C] the form; NaN where the log has no number, 0 where it has no id."""
        given = lookup.given(self.settings.feature.name)
        if self.settings.form == "id":
            return Found(np.nan_to_num(given))
        values = np.sign(given) * np.log1p(np.abs(given))
        if self.settings.form == "centred":
            return Found(_centred(values, lookup))
        return Found(_rank(values, lookup) if self.settings.form == "rank" else values)


def candidate_cross_features(schema: SearchSchema) -> list[Candidate]:
    """Return the forms of a schema's candidate features, in order."""
    return [
        Candidate(CandidateSettings.model_validate({"feature": f, "form": form}))
        for f in schema.features.candidate
        for form in f.columns
    ]


def candidate_codes(feature: CandidateFeature, values: Sequence[Any]) -> NDArray[np.float32]:
    """Return the numbers 1..values of an id's texts, by their hash; 0 for None.

    Example::

        >>> of_five = CandidateFeature(name="source", kind="id", column="source", values=5)
        >>> codes = candidate_codes(of_five, ["ann", "bm25", "ann", None])
        >>> bool(codes[0] == codes[2]), codes[3].item()
        (True, 0.0)
    """
    texts = [id_text(v) for v in values]
    codes = [0 if t is None else 1 + hash63(t) % feature.values for t in texts]
    return np.array(codes, np.float32)


def _centred(values: NDArray[np.float64], lookup: Lookup) -> NDArray[np.float64]:
    """Subtract the mean of the request's known values and divide by their deviation, if there is one."""
    known = ~np.isnan(values)
    request, size = lookup.request, lookup.num_requests
    count = np.maximum(np.bincount(request, known, size), 1)
    mean = np.bincount(request, np.where(known, values, 0), size) / count
    off = values - mean[request]
    deviation = np.sqrt(np.bincount(request, np.where(known, off, 0) ** 2, size) / count)
    return np.asarray(off / np.where(deviation > 1e-9, deviation, 1)[request])


def _rank(values: NDArray[np.float64], lookup: Lookup) -> NDArray[np.float64]:
    """Return the share of the request's other known values that are smaller, equal ones by half."""
    result = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    request, value = lookup.request[known], values[known]
    by_value = np.lexsort((value, request))
    position = np.empty(len(known), np.int64)
    position[by_value] = np.arange(len(known))
    group = request[by_value]
    first = np.searchsorted(group, np.arange(lookup.num_requests))
    new = np.append(True, (np.diff(group) != 0) | (np.diff(value[by_value]) != 0))[: len(known)]
    run = np.cumsum(new) - 1
    mean_of_run = np.bincount(run, np.arange(len(known))) / np.maximum(np.bincount(run), 1)
    others = np.bincount(request, minlength=lookup.num_requests)[request] - 1
    below = mean_of_run[run[position]] - first[request]
    result[known] = np.where(others > 0, below / np.maximum(others, 1), 0.5)
    return result

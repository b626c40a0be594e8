"""Statistics of number features over the training data, by which a model normalises them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactrank.data.raw.sql import quote
from interactrank.data.raw.staged_columns import request_column
from interactrank.data.raw.staged_log import StagedLog
from interactrank.schema import Feature, SearchSchema

__all__ = ["Statistics", "item_statistics", "request_statistics"]

Statistics = dict[str, float]
"""``minimum``, ``maximum``, ``mean`` and ``std`` of the known values; zeros if there are none."""

NAMES = ("minimum", "maximum", "mean", "std")


def item_statistics(values: NDArray[np.float32]) -> Statistics:
    """Return the statistics of [N] values, one an item; NaN is unknown.

    Example::

        >>> item_statistics(np.array([1, 3, np.nan], np.float32))
        {'minimum': 1.0, 'maximum': 3.0, 'mean': 2.0, 'std': 1.4142135623730951}
    """
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return dict.fromkeys(NAMES, 0.0)
    std = known.std(ddof=1) if len(known) > 1 else 0.0
    found = (known.min(), known.max(), known.mean(), std)
    return {name: float(value) for name, value in zip(NAMES, found, strict=True)}


def request_statistics(log: StagedLog, schema: SearchSchema, feature: Feature) -> Statistics:
    """Return the statistics of a number feature over the train requests."""
    value = f"TRY_CAST({quote(request_column(schema, feature.column, feature.file))} AS FLOAT)::DOUBLE"
    found = log.db.execute(
        f"""SELECT min({value}), max({value}), avg({value}), stddev_samp({value}) FROM requests
        WHERE split = 'train' AND isfinite({value})"""
    ).fetchone()
    return {name: float(value or 0) for name, value in zip(NAMES, found, strict=True)}

"""Leaks: columns that tell alone what was engaged with, as what is known only after a click does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from interactrank.data.extras import duckdb
from interactrank.data.guess.profile import TableProfile
from interactrank.data.guess.roles import Roles
from interactrank.data.raw.sql import quote

__all__ = ["LEAK", "auc", "leaks", "leaks_in"]

LEAK = 0.99
SAMPLE = 100_000  # rows
FEW = 100  # values of a text that is read as a category


def leaks(db: duckdb.DuckDBPyConnection, events: TableProfile, roles: Roles) -> dict[str, float]:
    """Return column of the events -> AUC, of those that tell alone whether a row was engaged with."""
    engaged = " OR ".join(f"coalesce({quote(c)}::DOUBLE, 0) > 0" for c in roles.engagements.values())
    columns: dict[str, tuple[str, str]] = {
        n: (quote(n), c.holds)
        for n, c in events.columns.items()
        if n not in roles.taken
        and (c.holds in ("numbers", "times") or (c.holds == "text" and c.distinct <= FEW))
    }
    return leaks_in(db, "events", engaged, columns)


def leaks_in(
    db: duckdb.DuckDBPyConnection, rows: str, engaged: str, columns: Mapping[str, tuple[str, str]]
) -> dict[str, float]:
    """Return column -> AUC of those above ``LEAK``; none if all rows are engaged with, or none.

    Args:
        db: has the rows.
        rows: what stands behind FROM.
        engaged: SQL for whether a row was engaged with.
        columns: name -> SQL of the column, and what it holds.
    """
    if not columns:
        return {}
    wanted = ", ".join(f"{_number(*column)} AS {quote(name)}" for name, column in columns.items())
    how = f"USING SAMPLE reservoir({SAMPLE} ROWS) REPEATABLE (0)"
    with db.cursor() as cursor:
        table = cursor.sql(f"SELECT ({engaged}) AS label__, {wanted} FROM {rows} {how}").to_arrow_table()
    label = np.asarray(table["label__"].to_numpy(zero_copy_only=False), bool)
    found = {}
    for column in columns:
        values = table[column].to_pylist()
        score = max(_aucs(values, label), default=0.5)
        if score > LEAK:
            found[column] = score
    return found


def _number(name: str, holds: str) -> str:
    if holds == "numbers":
        return f"TRY_CAST({name} AS DOUBLE)"
    return (
        f"epoch_ms(TRY_CAST({name} AS TIMESTAMP))::DOUBLE" if holds == "times" else f"CAST({name} AS VARCHAR)"
    )


def _aucs(values: list[float | str | None], label: NDArray[np.bool_]) -> Iterable[float]:
    """Yield how well the values, and whether there is one, part engaged rows from others."""
    known = np.array([v is not None for v in values])
    yield _either(known.astype(float), label)
    if not known.any():
        return
    present = [v for v in values if v is not None]
    if isinstance(present[0], str):
        yield _either(_shares(values, label), label)
    else:
        yield _either(np.array(present, float), label[known])


def _shares(values: list[float | str | None], label: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of engaged rows of each row's value."""
    codes = np.unique([str(v) for v in values], return_inverse=True)[1]
    return np.asarray((np.bincount(codes, label) / np.bincount(codes))[codes])


def _either(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    area = auc(score, label)
    return max(area, 1 - area)


def auc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    """Return the probability that an engaged row has the higher score, ties by half; 0.5 without both.

    Example::

        >>> auc(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]))
        0.75
    """
    positives, negatives = int(label.sum()), int((~label).sum())
    if not positives or not negatives:
        return 0.5
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))

"""Ids: one rule in Python and in SQL."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pytest

from interactrank.core.ids import id_text
from interactrank.data.raw.sql import identity, text

NAN, INF = float("nan"), float("inf")

CASES: list[tuple[str, Any, str | None]] = [
    ("BIGINT", 7, "7"),
    ("DOUBLE", 7.0, "7"),
    ("FLOAT", 7.0, "7"),
    ("DOUBLE", -7.0, "-7"),
    ("DOUBLE", 7.25, "7.25"),
    ("DOUBLE", 1e15, "1000000000000000"),
    ("DOUBLE", NAN, None),
    ("FLOAT", NAN, None),
    ("DECIMAL(9,2)", Decimal("7.00"), "7"),
    ("DECIMAL(9,2)", Decimal("70"), "70"),
    ("VARCHAR", "7", "7"),
    ("VARCHAR", "7.0", "7"),  # a column of text that was once one of fractions
    ("VARCHAR", "007", "007"),
    ("VARCHAR", "007.0", "007.0"),
    ("VARCHAR", "1.10", "1.10"),  # a version
    ("VARCHAR", " 7", " 7"),
    ("VARCHAR", "Ab", "Ab"),
    ("VARCHAR", "", None),
    ("VARCHAR", None, None),
    ("DOUBLE", None, None),
    ("UBIGINT", 2**64 - 1, "18446744073709551615"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), CASES)
def test_id_text(kind: str, value: Any, expected: str | None) -> None:
    assert id_text(value) == expected


@pytest.mark.parametrize(("kind", "value", "expected"), CASES)
def test_identity_is_the_same_rule(kind: str, value: Any, expected: str | None) -> None:
    found = duckdb.execute(f"SELECT {identity('x', kind)} FROM (SELECT CAST(? AS {kind}) AS x)", [value])
    assert found.fetchone() == (expected,)


def test_a_text_is_not_an_id() -> None:
    """A query is kept as it was typed; as a number it is written as an id is."""
    row = r"(SELECT '7.0' AS a, 7.0::DOUBLE AS b, 'caf\xC3\xA9'::BLOB AS c)"
    found = duckdb.execute(f"SELECT {text('a')}, {text('b', 'DOUBLE')}, {text('c', 'BLOB')} FROM {row}")
    assert found.fetchone() == ("7.0", "7", "café")


@pytest.mark.parametrize("value", [np.float32(7), np.float64(7), np.int8(7), np.str_("7")])
def test_numbers_of_numpy(value: Any) -> None:
    assert id_text(value) == "7"


def test_infinity_and_large_numbers() -> None:
    assert [id_text(v) for v in (INF, 1e300)] == ["inf", str(int(1e300))]

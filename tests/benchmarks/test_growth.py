from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks import growth


def result(threads: int = 2) -> dict[str, Any]:
    """Sizes 10, 100, 1000, out of order; one contestant costs 2 ms a unit, one 3 ms whatever the size."""
    rows = []
    for size in (100, 10, 1000):
        for name, ms in (("proportional", 2.0 * size), ("constant", 3.0)):
            row = {"contestant": name, "size": size, "kind": "a", "cpu_time_p50_ms": ms}
            rows.append(row | {f"cpu_runtime_p{p}_ms": ms * f for p, f in ((10, 0.9), (50, 1.0), (90, 1.2))})
    return {"results": rows, "hardware": {"threads": threads, "name": "x"}, "benchmark": "toy", "date": "d"}


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_is_the_slope_of_the_logarithms(power: float) -> None:
    sizes = [1.0, 4.0, 16.0]
    slope, fit = growth.exponent(sizes, [7 * size**power for size in sizes])
    assert slope == pytest.approx(power, abs=1e-9)
    assert fit == pytest.approx(1.0)


def test_a_bend_shows_in_r_squared() -> None:
    # To base 10: (0, 0), (1, 0), (2, 2); slope 1, residuals 1/3, -2/3, 1/3; 1 - (6/9) / (8/3) = 3/4.
    slope, fit = growth.exponent([1, 10, 100], [1, 1, 100])
    assert slope == pytest.approx(1.0)
    assert fit == pytest.approx(0.75)


def test_two_sizes_have_a_slope_and_no_fit() -> None:
    slope, fit = growth.exponent([1.0, 2.0], [3.0, 12.0])
    assert slope == pytest.approx(2.0)
    assert math.isnan(fit)


def test_every_contestant_has_a_line_in_order_of_size() -> None:
    table = growth.table(result(), "size")
    assert table is not None
    # 2 ms a unit are 2e6 ns each at both ends; 3 ms over 10 are 3e5, over 1000 are 3e3.
    assert table["rows"] == [
        ["proportional", 10, 1000, pytest.approx(2e6), pytest.approx(2e6), 1.0, 1.0],
        ["constant", 10, 1000, pytest.approx(3e5), pytest.approx(3e3), 0.0, 1.0],
    ]
    assert len(table["columns"]) == 7


def test_lines_are_told_apart_by_series() -> None:
    found = result()
    found["results"][0] |= {"kind": "b"}  # alone in its series: no line to fit
    table = growth.table(found, "size", "kind")
    assert table is not None
    assert [row[:2] for row in table["rows"]] == [["a", "proportional"], ["a", "constant"]]


def test_one_thread_is_judged_by_its_cpu_time() -> None:
    found = result(threads=1)
    for row in found["results"]:
        row["cpu_time_p50_ms"] = float(row["size"]) ** 2
    table = growth.table(found, "size")
    assert table is not None
    assert [row[5] for row in table["rows"]] == [2.0, 2.0]


def test_one_size_does_not_grow() -> None:
    found = result()
    found["results"] = found["results"][:2]
    assert growth.table(found, "size") is None

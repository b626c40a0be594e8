"""Has something become slower? Two result files of one benchmark, changes beyond the noise marked.

    python -m benchmarks.compare OLD.json NEW.json

Where a contestant has a baseline, its ratio to it is compared: both were measured in turns, so that a busier
machine changes neither ratio much, and ratios of two machines can be compared. A baseline itself, and what
a result says of time, is compared only between runs on the same hardware.

The noise of a median follows from the spread of its rounds: the standard deviation is a 2.56th of the
distance from p10 to p90 (as in a normal distribution), the standard error of a median of n rounds 1.25 times
that over the root of n; all on logarithms. A change is marked beyond 3 standard errors of the difference,
and beyond SMALLEST, since whole runs differ by more than their rounds do.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report

SMALLEST = 0.05  # changes below it are not marked
ERRORS = 3.0


class Change(NamedTuple):
    """What became of a row.

    Attributes:
        short_name: of the row.
        what: that was compared: ``ratio`` to the baseline, or ``speed``.
        old, new: medians.
        change: new / old - 1, above 0 where it became faster.
        noise: up to which a change says nothing.
    """

    short_name: str
    what: str
    old: float
    new: float
    change: float
    noise: float

    @property
    def mark(self) -> str:
        """``faster``, ``slower``, or nothing."""
        if abs(math.log1p(self.change)) <= math.log1p(self.noise):
            return ""
        return "faster" if self.change > 0 else "slower"


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The changes of all rows that both results have.

    Raises:
        ValueError: the results are of different benchmarks, or have no row in common.
    """
    if old["benchmark"] != new["benchmark"]:
        raise ValueError(f"results of {old['benchmark']} and {new['benchmark']} cannot be compared")
    before = {row["short_name"]: row for row in old["results"]}
    pairs = [(before[row["short_name"]], row) for row in new["results"] if row["short_name"] in before]
    if not pairs:
        raise ValueError("the results have no row in common: other sizes, or other contestants")
    same_hardware = all(old["hardware"][key] == new["hardware"][key] for key in ("name", "threads"))
    found = []
    for one, two in pairs:
        by_ratio = "ratio_to" in one and one.get("ratio_to") == two.get("ratio_to")
        if not by_ratio and not same_hardware:
            continue
        by_cpu = all(report.judged_by_cpu_time(of, row) for of, row in ((old, one), (new, two)))
        cpu = by_cpu and "cpu_time_ratio_p50" in one and "cpu_time_ratio_p50" in two
        key = ("cpu_time_ratio_p{}" if cpu else "ratio_p{}") if by_ratio else "qps_p{}"
        a, b = one[key.format(50)], two[key.format(50)]
        noise = ERRORS * math.hypot(_error(one, key), _error(two, key))
        found.append(
            Change(
                two["short_name"],
                "ratio" if by_ratio else "speed",
                a,
                b,
                b / a - 1,
                max(SMALLEST, math.expm1(noise)),
            )
        )
    return found


def _error(row: dict[str, Any], key: str) -> float:
    """Standard error of the logarithm of a median."""
    spread = math.log(row[key.format(90)]) - math.log(row[key.format(10)])
    return 1.253 * spread / 2.563 / math.sqrt(row["rounds"])


def markdown(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The comparison as a page."""
    found = changes(old, new)
    names = [{row["short_name"] for row in result["results"]} for result in (old, new)]
    lines = [f"# {new['benchmark']}: {old['date']} and {new['date']}", ""]
    for result in (old, new):
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        hardware = f"{result['hardware']['name']}, {result['hardware']['threads']} threads"
        lines.append(f"- {result['date']}: {hardware}; {versions}; load {result['load_before'][0]}")
    rows = [
        [c.short_name, c.what, c.old, c.new, f"{c.change:+.1%}", f"{c.noise:.1%}", c.mark]
        for c in sorted(found, key=lambda c: c.change)
    ]
    lines += ["", *report.table_lines(["row", "compared", "old", "new", "change", "noise", ""], rows), ""]
    marks = [c.mark for c in found]
    lines.append(
        f"{marks.count('slower')} slower, {marks.count('faster')} faster beyond the noise, of {len(found)} "
        f"rows; {len(names[0] ^ names[1])} rows are in one result only."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args()
    results = []
    for path in (options.old, options.new):
        try:
            result = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            sys.exit(f"cannot read '{path}': {error}")
        if found := report.problems(result):
            sys.exit(f"'{path}' is not a result: {'; '.join(found)}")
        results.append(result)
    try:
        print(markdown(*results))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""Every benchmark, one after the other; a result file for each.

    python -m benchmarks.suite                  # under half an hour on two cores: make bench
    python -m benchmarks.suite --smoke          # tiny sizes, to see that all of them work: make bench-smoke
    python -m benchmarks.suite --only 'ranks|embedding'

The sizes here are chosen for the time; a script by itself measures more by default.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import report
from benchmarks.harness import RESULTS

ROOT = Path(__file__).parents[1]
HARNESS = ("--no-memory", "--rounds", "5", "--warmup", "1", "--threads", "1")
# script -> its options in a whole run
SCRIPTS: dict[str, tuple[str, ...]] = {
    "train_step": (*HARNESS, "--candidates", "100", "500", "--eager"),
    "sequence": HARNESS,
    "modules": HARNESS,
    "embedding": HARNESS,
    "loader": HARNESS,
    "prepare": HARNESS,
    "evaluation": HARNESS,
    "scoring": HARNESS,
    "serve": ("--seconds", "20"),
    "frontier": (),
    "fresh": ("--trials", "1000"),
    "epochs": (),
    "position": ("--seeds", "1"),
    "overhead": HARNESS,
    "plain_pytorch": HARNESS,
    "dlrm": HARNESS,
    "ranks": HARNESS,
    "search_ranks": HARNESS,
    "end_to_end": (*HARNESS, "--block", "20"),
    "equal_quality": ("--threads", "1", "--seeds", "1", "--requests", "2000", "--epochs", "2"),
    "checkpoint": ("--tables", "1", "2", "4", "--rounds", "3"),
    "plan": HARNESS,
    "plan_order": ("--threads", "1"),
    "projection": ("--threads", "1"),
    "faults": ("--only", "kills", "--kills", "5"),
}
# options that a smoke run takes over from a whole one, where they are there
SHARED = (("--no-memory",), ("--threads", "1"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; results go to a temporary folder")
    parser.add_argument("--only", default="", help="scripts to run, a regular expression")
    parser.add_argument("--output", type=Path, help=f"folder of the result files ({RESULTS.name})")
    options = parser.parse_args()
    names = [name for name in SCRIPTS if re.search(options.only, name)]
    if not names:
        sys.exit(f"--only {options.only}: no such script; there are {', '.join(SCRIPTS)}")
    with _folder(options) as folder:
        began = time.perf_counter()
        failed = [name for name in names if not run(name, folder, smoke=options.smoke)]
        print(f"{len(names) - len(failed)} of {len(names)} in {(time.perf_counter() - began) / 60:.1f} min")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str, folder: Path, *, smoke: bool) -> bool:
    """One script in a process of its own; says how long it took. Whether it ended with a valid result."""
    given = SCRIPTS[name]
    if smoke:
        given = ("--smoke", *(word for option in SHARED if option[0] in given for word in option))
    command = [sys.executable, "-m", f"benchmarks.{name}", *given, "--output", str(folder)]
    print(f"== {name}: python -m benchmarks.{name} {' '.join(given)}", flush=True)
    start, before = time.perf_counter(), set(folder.glob("*.json"))
    stamps = {path: path.stat().st_mtime_ns for path in before}
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    written = [p for p in folder.glob("*.json") if stamps.get(p) != p.stat().st_mtime_ns]
    wrong = [
        f"{p.name}: {problem}" for p in written for problem in report.problems(json.loads(p.read_text()))
    ]
    good = done.returncode == 0 and bool(written) and not wrong
    if not good:
        print("\n".join([done.stdout, *wrong, f"exit code {done.returncode}, {len(written)} results"]))
    seconds = time.perf_counter() - start
    print(f"== {name}: {'done' if good else 'FAILED'} after {seconds:.0f} s", flush=True)
    return good


@contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """Where results go: those of a smoke run nowhere, unless the user names a folder."""
    if options.output is None and options.smoke:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        folder = options.output or RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


if __name__ == "__main__":
    main()

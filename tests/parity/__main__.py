"""``python -m tests.parity --golden DIR``: every case of a golden folder through the public modules."""

import argparse
import sys
from pathlib import Path

from tests.parity.run import notes, run_case, summary


def main() -> int:
    """Run and print; 1 if a case failed or there was none."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--golden", type=Path, required=True, metavar="DIR", help="folder of golden cases")
    folder = parser.parse_args().golden
    if not notes(folder):
        print(f"no golden case in {folder}", file=sys.stderr)
        return 1
    outcomes = []
    for note in notes(folder):
        outcome = run_case(note)
        outcomes.append(outcome)
        print(f"{outcome.status:8}{outcome.case:44}{outcome.text}", flush=True)
    print(summary(outcomes))
    return int(any(outcome.status == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

"""``interactrank history``: what the histories of a dataset hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import count

ABOUT = "Report coverage, concentration and drift of a dataset's histories, and who looks like a bot."
EXAMPLE = "interactrank history prepared --output reports/history"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("dataset", type=Path, help="what interactrank prepare wrote")
    parser.add_argument(
        "--output", type=Path, help="folder for history.json, history.md and history.png; default: none"
    )
    parser.add_argument("--head", help="head whose positives are the engagements; default: the first")
    parser.add_argument(
        "--max-events-per-user-day",
        type=count,
        metavar="N",
        help="a further cap, whose effect is counted",
    )
    parser.add_argument("--max-events-per-query-day", type=count, metavar="N", help="the same for queries")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    import json

    from interactrank.data.prepared.dataset import PreparedDataset
    from interactrank.evaluation.history.report import history_report, show, write_report

    report = history_report(
        PreparedDataset(options.dataset),
        head=options.head,
        user_cap=options.max_events_per_user_day,
        query_cap=options.max_events_per_query_day,
    )
    if options.output:
        write_report(report, options.output)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        show(report)
    return 0

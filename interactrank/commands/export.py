"""``interactrank export``: a trained model as one folder that a server opens."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_output, count, named_number

ABOUT = "Export a trained model with item vectors, histories and vocabularies: what PreRanker.open reads."
EXAMPLE = "interactrank export runs/demo/interactrank --output exports/demo --verify 100"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("model_dir", type=Path, help="run directory of the trained model")
    add_output(parser, "folder of the export; versions in it stay")
    parser.add_argument(
        "--data", type=Path, help="dataset that the model was trained on; MODEL_DIR/../prepared when left out"
    )
    parser.add_argument(
        "--precision", choices=["float32", "float16", "int8"], default="float32", help="of the item vectors"
    )
    parser.add_argument(
        "--head",
        type=named_number,
        action="append",
        metavar="NAME=WEIGHT",
        help="weight of a head in the score, repeated for more; the head of the evaluation when left out",
    )
    parser.add_argument("--verify", type=count, metavar="N", help="replay N requests and compare the scores")
    parser.add_argument(
        "--replace-newer", action="store_true", help="serve it even if what is served has later events"
    )
    parser.add_argument(
        "--browse",
        nargs="?",
        const="",
        metavar="LOG",
        help="also what the search page shows: texts of items, queries, users (personal data); LOG is the "
        "folder of the log, when left out the one that the dataset keeps or that was simulated",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.versions import check

    check()
    from interactrank.runs.export import export_trained

    export_trained(
        options.model_dir,
        options.output,
        data=options.data,
        precision=options.precision,
        head_weights=dict(options.head) if options.head else None,
        verify_requests=options.verify or 0,
        replace_newer=options.replace_newer,
        browse=options.browse,
    )
    return 0

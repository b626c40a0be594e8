"""``interactrank score``: rows of one's own, scored by a trained model."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from interactrank.commands.arguments import add_output

ABOUT = "Score rows of (request, item) with a trained model; histories as of the time of each request."
EXAMPLE = "interactrank score runs/model --dataset prepared --data rows.parquet --output scores.parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("model", type=Path, help="run directory of a trained model")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset that the model was trained on")
    parser.add_argument(
        "--data", type=Path, required=True, help="Parquet file or folder with the rows, columns as in the log"
    )
    add_output(parser, "Parquet file of the scores")
    parser.add_argument("--explain", action="store_true", help="write the parts of each score, too")
    parser.add_argument("--strict", action="store_true", help="a row that cannot be scored is an error")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.versions import check
    from interactrank.core.yaml_file import read_yaml
    from interactrank.runs.plugins import import_plugins, plugin_names
    from interactrank.runs.scoring import score_rows

    check()
    config = options.model / "config.yaml"
    if config.exists():  # the cross features of the model may be of one's own
        import_plugins(plugin_names(read_yaml(config)), str(config))
    found = score_rows(
        options.model,
        options.dataset,
        options.data,
        options.output,
        explain=options.explain,
        strict=options.strict,
    )
    scored = found.rows - sum(found.left_out.values())
    logging.getLogger(__name__).info("scored %s rows: %s", f"{scored:,}", options.output)
    return 0

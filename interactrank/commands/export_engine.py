"""``interactrank export-engine``: an export in the form of a search engine."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from interactrank.commands.arguments import add_output

ABOUT = "Write the schema and the documents with which a search engine computes the scores of an export."
EXAMPLE = "interactrank export-engine exports/demo --engine vespa --output vespa"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("export", type=Path, help="folder of the export")
    parser.add_argument("--engine", choices=["vespa", "opensearch"], required=True)
    add_output(parser, "folder of the schema and the documents")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.versions import check

    check()
    from interactrank.serving import PreRanker
    from interactrank.serving.engines import write_engine

    for path in write_engine(PreRanker.open(options.export), options.engine, options.output):
        logger.info("written: %s", path)
    return 0

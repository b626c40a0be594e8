"""``interactrank refresh``: new and changed items in an export, without training."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

ABOUT = "Embed new and changed items with an exported model; the export's next version has them."
EXAMPLE = "interactrank refresh exports/demo --items items_of_today.parquet"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("export", type=Path, help="folder of the export")
    parser.add_argument(
        "--items", type=Path, required=True, help="Parquet file with the columns of the log's items file"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.versions import check

    check()
    from interactrank.serving import refresh_items

    version = refresh_items(options.export, options.items)
    done = version.facts["refreshed"]
    logger.info("%s: %d new items, %d changed", version.name, done["new"], done["changed"])
    return 0

"""``interactrank export-items``: the item embeddings of the whole catalogue."""

from __future__ import annotations

import argparse
from pathlib import Path

from interactrank.commands.arguments import add_config, add_output, read_config

ABOUT = "Embed the whole catalogue with a trained model, on the ranks that torchx or torchrun started."
EXAMPLE = (
    "torchrun --standalone --nproc-per-node 2 -m interactrank.cli export-items examples/configs/bestbuy.yaml"
    " --data prepared --model-dir runs/model --output items"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, required=True, help="dataset that the model was trained on")
    parser.add_argument("--model-dir", type=Path, required=True, help="run directory of the trained model")
    add_output(parser, "directory of the embeddings")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options)
    from interactrank.runs.export import export_item_embeddings

    export_item_embeddings(config, options.data, options.model_dir, options.output)
    return 0

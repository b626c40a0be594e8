"""``interactrank plan``: a sharding plan for a cluster that need not be at hand."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from interactrank.commands.arguments import (
    add_config,
    named_number,
    named_rows,
    positive,
    read_config,
)

if TYPE_CHECKING:
    from interactrank.sharding.planner.cluster import Cluster

ABOUT = "Plan the sharding for a target cluster, no GPU is needed; print sizes and times, write the plan."
EXAMPLE = "interactrank plan mine.yaml --data prepared --nodes 8 --gpus-per-node 8 --hbm 80GiB --ddr 200GiB"
SPEEDS = ("hbm", "ddr", "hbm_ddr", "within", "between")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config(parser)
    parser.add_argument("--data", type=Path, help="dataset, which knows the tables' rows")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default 1)")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="ranks on each machine (default 8)")
    parser.add_argument("--hbm", type=_size, default="80GiB", help="memory of a GPU (default 80GiB)")
    parser.add_argument("--ddr", type=_size, default="200GiB", help="host memory of a rank (default 200GiB)")
    parser.add_argument("--cpu", action="store_true", help="ranks without GPUs, tables in the host's memory")
    parser.add_argument(
        "--speed",
        type=_speed,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="bytes a second of hbm, ddr, hbm_ddr, within or between machines, such as hbm=3.3TB",
    )
    parser.add_argument(
        "--rows", type=named_rows, action="append", default=[], metavar="TABLE=N", help="such as item=1e9"
    )
    parser.add_argument(
        "--ids",
        type=named_number,
        action="append",
        default=[],
        metavar="FEATURE=N",
        help="mean pooling factor: ids in a row of the feature",
    )
    parser.add_argument("--candidates", type=positive, help="items of a request, logged and drawn")
    parser.add_argument("--model", default="interactrank", help="a trained model or a variant")
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="if the tables do not fit, look for the nearest changes that make a plan possible (minutes)",
    )
    parser.add_argument("--output", type=Path, default=Path("plan.json"), help="file of the plan (plan.json)")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    config = read_config(options).for_model(options.model)
    from interactrank.core.extras import MissingExtraError
    from interactrank.runs.datasets import open_dataset
    from interactrank.runs.plan_inputs import profile_model
    from interactrank.runs.training import collection_settings
    from interactrank.sharding.planner.offline import plan_for_cluster
    from interactrank.sharding.planner.plots import plot_plan

    profile = profile_model(
        config.search,
        config.model,
        name=options.model,
        batch_requests=config.loader.batch_requests,
        negatives=config.loader.negatives,
        log=None if options.data is None else open_dataset(config, options.data),
        rows=dict(options.rows),
        ids=dict(options.ids),
        candidates=options.candidates,
    )
    settings = collection_settings(config.training)
    report = plan_for_cluster(
        profile, settings, cluster(options), options.output, suggestions=options.suggest
    )
    written = [options.output]
    try:
        written.append(plot_plan(report, options.output.with_suffix(".png")))
    except MissingExtraError as error:
        print(f"no picture: {error}", file=sys.stderr)
    report.show()
    for path in written:
        print(f"written: {path}", file=sys.stderr)
    return 0


def cluster(options: argparse.Namespace) -> Cluster:
    """Return the cluster that the options describe."""
    from interactrank.sharding.planner.cluster import CPU_SPEEDS, Cluster, Speeds

    usual = CPU_SPEEDS if options.cpu else Speeds()
    return Cluster(
        nodes=options.nodes,
        ranks_per_node=options.gpus_per_node,
        device="cpu" if options.cpu else "cuda",
        hbm=0 if options.cpu else options.hbm,
        ddr=options.ddr,
        speeds=replace(usual, **dict(options.speed)) if options.speed else None,
    )


def _size(text: str) -> int:
    from interactrank.sharding.byte_sizes import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if name not in SPEEDS:
        raise argparse.ArgumentTypeError(f"'{text}': write NAME=SIZE with a name of {', '.join(SPEEDS)}")
    return name, _size(size)

"""The command line: one thin sub-command per verb."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interactrank.core.errors import USER_ERRORS, UserError, cannot_write
from interactrank.core.logging import configure_command_line
from interactrank.core.versions import check

if TYPE_CHECKING:
    from interactrank.sharding.planner.cluster import Cluster

EXAMPLES = """examples:
  interactrank run examples/configs/bestbuy.yaml --data ../shared/data/bestbuy_xbox
  interactrank run interactrank/configs/demo.yaml --output runs/demo training.steps=200
  interactrank ablate examples/configs/bestbuy.yaml --data ../shared/data/bestbuy_xbox --seeds 3
  interactrank doctor
"""
SPEEDS = ("hbm", "ddr", "hbm_ddr", "within", "between")
OVERRIDES = "settings of the config to change, such as training.steps=200 loader.seed=1"


class CommandError(UserError, ValueError):
    """Options that contradict each other."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    configure_command_line()
    if options.verb == "doctor":
        from interactrank.commands.doctor import doctor

        return doctor()
    try:
        check()
        _run(options)
    except USER_ERRORS as error:
        print(f"interactrank {options.verb}: {error}", file=sys.stderr)
        _tell_torchrun(error)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print(f"interactrank {options.verb}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        _tell_torchrun(error)
        if (cannot := cannot_write(error)) is None:
            raise
        print(f"interactrank {options.verb}: {cannot}", file=sys.stderr)
        return 1
    return 0


def _tell_torchrun(error: Exception) -> None:
    """Where torchrun started this process, its summary then says what was wrong, not only the exit code.

    When one rank dies torchrun ends the others, and reads what they wrote: on a part of such a file it fails
    itself, and restarts nothing.
    """
    target = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if target is None:
        return
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    from interactrank.core.files import atomic_write

    def write(temporary: Path) -> None:
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(temporary)
        try:
            get_error_handler().record_exception(error)
        finally:
            os.environ["TORCHELASTIC_ERROR_FILE"] = target

    with suppress(OSError):  # the error itself matters more than torchrun's summary
        atomic_write(target, write)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line; overrides may stand anywhere behind the config.

    Example::

        >>> parse(["run", "mine.yaml", "model.dim=8", "--output", "runs/a", "training.steps=9"]).overrides
        ['model.dim=8', 'training.steps=9']
    """
    parser = _parser()
    options, left = parser.parse_known_args(arguments)
    # argparse fills positional arguments at the first place that has any; those further back are left over.
    strange = [text for text in left if text.startswith("-") or "overrides" not in options]
    if strange:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    if left:
        options.overrides = [*options.overrides, *left]
    return options


def _run(options: argparse.Namespace) -> None:
    from interactrank.runs import jobs
    from interactrank.runs.config import load_config

    config = load_config(options.config, options.overrides)
    if options.verb == "simulate":
        jobs.simulate_job(config, options.output)
    elif options.verb == "prepare":
        jobs.prepare_job(config, options.data, options.output, strict=options.strict)
    elif options.verb == "train":
        jobs.train_job(config, options.data, options.output, model=options.model, plan=options.plan)
    elif options.verb == "plan":
        jobs.plan_job(
            config,
            _cluster(options),
            options.output,
            data=options.data,
            rows={table: round(rows) for table, rows in options.rows},
            ids=dict(options.ids),
            candidates=options.candidates,
            model=options.model,
        )
    elif options.verb == "evaluate":
        jobs.evaluate_job(config, options.data, _runs(options.run), options.output)
    elif options.verb == "ablate":
        from interactrank.experiments.job import ablate_job

        output = options.output or Path("runs") / f"ablate_{options.config.stem}"
        ablate_job(config, options.data, output, seeds=options.seeds, only=options.only)
    elif options.verb == "export-items":
        jobs.export_items_job(config, options.data, options.trained, options.output, model=options.model)
    else:
        from interactrank.runs.launch import launch_training

        def launch(model: str, data: Path, output: Path) -> None:
            launch_training(
                config=output.parent / "config.yaml",
                data=data,
                output=output,
                model=model,
                ranks=config.ranks,
            )

        jobs.run_job(config, options.data, options.output or _default_output(options.config), launch)


def _runs(given: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    runs: dict[str, Path] = {}
    for name, folder in given:
        if name in runs:
            raise CommandError(
                f"--run names {name} twice ({runs[name]} and {folder}); compare two folders of one model by "
                "two evaluations"
            )
        runs[name] = folder
    return runs


def _default_output(config: Path) -> Path:
    return Path("runs") / config.stem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="interactrank",
        description="Personalized search pre-ranking: from a search log to ranked results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, about: str, example: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name,
            help=about,
            description=about,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name != "doctor":
            sub.add_argument("config", type=Path, help="YAML file of the run")
            sub.add_argument("overrides", nargs="*", metavar="SECTION.KEY=VALUE", help=OVERRIDES)
        return sub

    simulate = verb(
        "simulate",
        "Make up a search log whose truth is known (section simulate).",
        "interactrank simulate interactrank/configs/demo.yaml --output log simulate.requests=100000",
    )
    simulate.add_argument("--output", type=Path, required=True, help="folder of the log")
    prepare = verb(
        "prepare",
        "Turn a raw log into request-grouped Parquet with features as of each request.",
        "interactrank prepare examples/configs/bestbuy.yaml --data ../shared/data/bestbuy_xbox"
        " --output prepared",
    )
    prepare.add_argument(
        "--data", type=Path, required=True, help="folder with events.parquet and items.parquet"
    )
    prepare.add_argument("--output", type=Path, required=True, help="folder of the prepared log")
    prepare.add_argument("--strict", action="store_true", help="a malformed row is an error")
    train = verb(
        "train",
        "Train a model on a prepared log; started once per rank by torchx or torchrun.",
        "torchrun --standalone --nproc-per-node 2 -m interactrank.cli train examples/configs/bestbuy.yaml"
        " --data prepared --output runs/model",
    )
    train.add_argument("--data", type=Path, required=True, help="prepared log")
    train.add_argument("--output", type=Path, required=True, help="folder of the model")
    train.add_argument(
        "--model", default="interactrank", help="interactrank, two_tower or one of the config's variants"
    )
    train.add_argument("--plan", type=Path, help="plan.json of `interactrank plan` for these ranks")
    plan = verb(
        "plan",
        "Lay the ID tables out over machines that need not be there; print sizes and times, write the plan.",
        "interactrank plan interactrank/configs/demo.yaml --data prepared --nodes 8 --gpus-per-node 8"
        " --hbm 80GiB --ddr 200GiB",
    )
    _add_plan_arguments(plan)
    evaluate = verb(
        "evaluate",
        "Rank the test requests with trained models and BM25; print the table, write the report.",
        "interactrank evaluate examples/configs/bestbuy.yaml --data prepared --output report"
        " --run interactrank=runs/model",
    )
    evaluate.add_argument("--data", type=Path, required=True, help="prepared log")
    evaluate.add_argument("--output", type=Path, required=True, help="folder of the report")
    evaluate.add_argument(
        "--run", type=_model_run, action="append", default=[], metavar="MODEL=FOLDER", help="a trained model"
    )
    items = verb(
        "export-items",
        "Embed the whole catalogue with a trained model; started once per rank by torchx or torchrun.",
        "torchrun --standalone --nproc-per-node 2 -m interactrank.cli export-items"
        " examples/configs/bestbuy.yaml --data prepared --trained runs/model --output items",
    )
    items.add_argument("--data", type=Path, required=True, help="prepared log of the model")
    # Not --run, which torchrun refuses as ambiguous between options of its own.
    items.add_argument("--trained", type=Path, required=True, help="folder of the trained model")
    items.add_argument("--output", type=Path, required=True, help="folder of the embeddings")
    items.add_argument("--model", default="interactrank", help="interactrank, two_tower or a variant")
    run = verb(
        "run",
        "Everything: prepare the log (or simulate one), train, evaluate, report.",
        "interactrank run examples/configs/lastfm.yaml --data ../shared/data/lastfm_tags",
    )
    run.add_argument("--data", type=Path, help="raw log; without it the config's section simulate makes one")
    run.add_argument("--output", type=Path, help="folder of the run; runs/<name of the config> when left out")
    ablate = verb(
        "ablate",
        "Train models from a plain two-tower to the config's own, with several seeds; print and write what"
        " each part is worth, beside the paper's findings.",
        "interactrank ablate examples/configs/bestbuy.yaml --data ../shared/data/bestbuy_xbox --seeds 3",
    )
    ablate.add_argument(
        "--data", type=Path, help="raw log; without it the config's section simulate makes one"
    )
    ablate.add_argument("--output", type=Path, help="folder; runs/ablate_<name of the config> when left out")
    ablate.add_argument("--seeds", type=int, default=3, help="trainings of each model (default 3)")
    ablate.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a model to keep; repeat it for more"
    )
    verb("doctor", "Print versions, what does not match, and what to run then.", "interactrank doctor")
    return parser


def _add_plan_arguments(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--data", type=Path, help="prepared log, which knows the tables' rows")
    plan.add_argument("--nodes", type=int, default=1, help="machines (default 1)")
    plan.add_argument("--gpus-per-node", type=int, default=8, help="ranks on each machine (default 8)")
    plan.add_argument("--hbm", type=_size, default="80GiB", help="memory of a GPU (default 80GiB)")
    plan.add_argument(
        "--ddr", type=_size, default="200GiB", help="host memory for each rank (default 200GiB)"
    )
    plan.add_argument("--cpu", action="store_true", help="ranks without GPUs, tables in the host's memory")
    plan.add_argument(
        "--speed",
        type=_speed,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="bytes a second of hbm, ddr, hbm_ddr, within or between machines, such as hbm=3.3TB",
    )
    plan.add_argument(
        "--rows", type=_rows_of, action="append", default=[], metavar="TABLE=N", help="such as item=1e9"
    )
    plan.add_argument(
        "--ids", type=_number_of, action="append", default=[], metavar="FEATURE=N", help="mean ids in a row"
    )
    plan.add_argument("--candidates", type=_above_0, help="items of a request, logged and drawn")
    plan.add_argument("--model", default="interactrank", help="interactrank, two_tower or a variant")
    plan.add_argument("--output", type=Path, default=Path("plan.json"), help="file of the plan (plan.json)")


def _cluster(options: argparse.Namespace) -> Cluster:
    from interactrank.sharding.planner.cluster import Cluster, Speeds

    return Cluster(
        nodes=options.nodes,
        ranks_per_node=options.gpus_per_node,
        device="cpu" if options.cpu else "cuda",
        hbm=0 if options.cpu else options.hbm,
        ddr=options.ddr,
        speeds=Speeds(**dict(options.speed)),
    )


def _size(text: str) -> int:
    from interactrank.sharding.planner.cluster import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if name not in SPEEDS:
        raise argparse.ArgumentTypeError(f"'{text}': write NAME=SIZE with a name of {', '.join(SPEEDS)}")
    return name, _size(size)


def _above_0(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e15:
        raise argparse.ArgumentTypeError(f"'{text}': write a number above 0")
    return value


def _number_of(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    with suppress(argparse.ArgumentTypeError):
        if name:
            return name, _above_0(number)
    raise argparse.ArgumentTypeError(f"'{text}': write a name and a number above 0, such as item=1e9")


def _rows_of(text: str) -> tuple[str, int]:
    name, rows = _number_of(text)
    if rows != int(rows):
        raise argparse.ArgumentTypeError(f"'{text}': rows must be a whole number, such as item=1e9")
    return name, int(rows)


def _model_run(text: str) -> tuple[str, Path]:
    model, equals, folder = text.partition("=")
    if not equals or not model or not folder:
        raise argparse.ArgumentTypeError(f"'{text}': write MODEL=FOLDER, such as interactrank=runs/model")
    return model, Path(folder)


def leave(code: int) -> None:
    """Ends the process; that of a rank at once, without taking Python down piece by piece.

    Threads of gloo may still let go of the last exchange's tensors then, and end the process with SIGABRT
    ("terminate called without an active exception") after all its work was done.
    """
    if "RANK" not in os.environ:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())

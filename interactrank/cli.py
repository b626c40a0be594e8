"""The command line: one thin sub-command per verb."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from interactrank.compatibility import check
from interactrank.errors import USER_ERRORS

EXAMPLES = """examples:
  interactrank run examples/configs/bestbuy.yaml --data ../shared/data/bestbuy_xbox
  interactrank run interactrank/configs/demo.yaml --output runs/demo training.steps=200
  interactrank doctor
"""
OVERRIDES = "settings of the config to change, such as training.steps=200 loader.seed=1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    if options.verb == "doctor":
        from interactrank.doctor import doctor

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
        raise
    return 0


def _tell_torchrun(error: Exception) -> None:
    """Where torchrun started this process, its summary then says what was wrong, not only the exit code."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


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
    from interactrank import jobs
    from interactrank.config import load_config

    config = load_config(options.config, options.overrides)
    if options.verb == "simulate":
        jobs.simulate_job(config, options.output)
    elif options.verb == "prepare":
        jobs.prepare_job(config, options.data, options.output, strict=options.strict)
    elif options.verb == "train":
        jobs.train_job(config, options.data, options.output, model=options.model)
    elif options.verb == "evaluate":
        jobs.evaluate_job(config, options.data, dict(options.run), options.output)
    else:
        from interactrank.components import launch_training

        def launch(model: str, data: Path, output: Path) -> None:
            launch_training(
                config=output.parent / "config.yaml",
                data=data,
                output=output,
                model=model,
                ranks=config.ranks,
            )

        jobs.run_job(config, options.data, options.output or _default_output(options.config), launch)


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
    run = verb(
        "run",
        "Everything: prepare the log (or simulate one), train, evaluate, report.",
        "interactrank run examples/configs/lastfm.yaml --data ../shared/data/lastfm_tags",
    )
    run.add_argument("--data", type=Path, help="raw log; without it the config's section simulate makes one")
    run.add_argument("--output", type=Path, help="folder of the run; runs/<name of the config> when left out")
    verb("doctor", "Print versions, what does not match, and what to run then.", "interactrank doctor")
    return parser


def _model_run(text: str) -> tuple[str, Path]:
    model, equals, folder = text.partition("=")
    if not equals or not model or not folder:
        raise argparse.ArgumentTypeError(f"'{text}': write MODEL=FOLDER, such as interactrank=runs/model")
    return model, Path(folder)


if __name__ == "__main__":
    sys.exit(main())

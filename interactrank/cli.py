"""The command line: collects the verbs of :mod:`interactrank.commands` and maps errors to exit codes.

Exit codes: 0 done; 1 an error, told in one line if the user can fix it; 2 wrong arguments; 75 asked to stop,
and ready to resume; 130 interrupted by Ctrl-C. Tables go to standard output, all else to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from interactrank.commands.verbs import verbs
from interactrank.core.errors import USER_ERRORS, cannot_write
from interactrank.runs.rank_process import leave, record_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = parse(arguments)
    try:
        from interactrank.core.logging import configure_command_line  # after --help

        configure_command_line(options.verbose - options.quiet)
        return int(options.run(options))
    except KeyboardInterrupt:
        print(f"interactrank {options.verb}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        text = str(error) if isinstance(error, USER_ERRORS) else cannot_write(error)
        is_shown = record_error(error, text)
        if text is None:
            raise
        if not is_shown:
            print(f"interactrank {options.verb}: {text}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; overrides may stand anywhere behind the config.

    Example::

        >>> parse(["run", "mine.yaml", "model.dim=8", "--output", "runs/a", "training.steps=9"]).overrides
        ['model.dim=8', 'training.steps=9']
    """
    parser = make_parser()
    options, left = parser.parse_known_args(arguments)
    # argparse fills positional arguments at the first place that has any; those further back are left over.
    unknown = [text for text in left if text.startswith("-") or "overrides" not in options]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if left:
        options.overrides = [*options.overrides, *left]
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    about = "Personalized search pre-ranking: from a search log to ranked results."
    parser = argparse.ArgumentParser(prog="interactrank", description=about)
    choices = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in verbs():
        sub = choices.add_parser(
            name,
            help=verb.ABOUT,
            description=verb.ABOUT,
            epilog=f"example:\n  {verb.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(sub)
        sub.add_argument("-q", "--quiet", action="count", default=0, help="warnings and results only")
        sub.add_argument("-v", "--verbose", action="count", default=0, help="debugging messages, too")
        sub.set_defaults(run=verb.run)
    return parser


if __name__ == "__main__":
    leave(main())

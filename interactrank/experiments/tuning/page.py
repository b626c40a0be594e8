"""The report of a tuning as a page of Markdown, and on the console; numbers come from the report alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from interactrank.core.markdown import bold, markdown_table
from interactrank.core.output import ResultConsole
from interactrank.evaluation.metrics import higher_is_better, shown_name

__all__ = ["markdown", "show"]

_TRIALS, _COLUMNS = 10, 5  # that the console shows
_HEAD = ("setting", "as given", "best", "range", "mattered")


def markdown(report: Mapping[str, Any]) -> str:
    """Return the page: what was found, the settings, all trials.

    Args:
        report: of :func:`~interactrank.experiments.tuning.report.tuning_report`.

    Returns:
        Markdown without an end of line.
    """
    best = report["best"]["trial"]
    rows = [
        [bold(cell, trial["trial"] == best) for cell in _cells(report, trial, list(report["space"]))]
        for trial in _sorted(report, report["trials"])
    ]
    return "\n\n".join(
        [
            *_notes(report),
            markdown_table(_HEAD, _settings(report)),
            markdown_table(_trial_head(report, list(report["space"])), rows),
        ]
    )


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what mattered, the best settings and the best trials.

    Args:
        report: of :func:`~interactrank.experiments.tuning.report.tuning_report`.
        console: where to; standard output when left out.
    """
    console = console or ResultConsole()
    settings = _table(*_HEAD, title=f"Tuning of {report['model']}")
    for row in _settings(report):
        settings.add_row(*row)
    complete = [trial for trial in report["trials"] if trial["state"] == "complete"]
    keys = _by_importance(report)[:_COLUMNS]
    trials = _table(*_trial_head(report, keys), title="The best trials")
    for trial in _sorted(report, complete)[:_TRIALS]:
        trials.add_row(*_cells(report, trial, keys))
    width = console.width
    try:
        console.width = max(width, 160)  # no number is cut
        console.print(settings)
        console.print(trials)
    finally:
        console.width = width
    for note in _notes(report):
        console.print(note, soft_wrap=True, highlight=False, markup=False)


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    best, given, metric = report["best"], report["given"], shown_name(report["metric"])
    of = {"logged": "their logged candidates", "catalogue": "the whole catalogue"}
    states = [trial["state"] for trial in report["trials"]]
    judged = len(states) - states.count("same")
    text = (
        f"{metric} {best['value']:.4f} of trial {best['trial']} is the best of {judged} trials on "
        f"{report['data']['requests']:,} validation requests, each ranking "
        f"{of[report['data']['candidates']]}."
    )
    if given is not None:
        text += f" The settings of the config reach {given['value']:.4f}."
    yield text + " The best of many tries is a little lucky: the test period tells by how much."
    for state in ("diverged", "failed"):
        if n := states.count(state):
            why = next(trial["why"] for trial in report["trials"] if trial["state"] == state)
            yield f"{n} trial{'s' * (n > 1)} {state}: {why}"
    if report["at_edge"]:
        yield f"At the edge of its range, which may be too narrow: {', '.join(report['at_edge'])}."
    yield (
        "Mattered: share of what set the best tenth of the trials apart (PED-ANOVA)."
        if report["importance"]
        else "Too few different trials to tell what mattered."
    )


def _settings(report: Mapping[str, Any]) -> list[list[str]]:
    importance = report["importance"]
    return [
        [
            key,
            _text(report["given_settings"][key]),
            _text(report["best"]["settings"][key]),
            _domain(report["space"][key]),
            f"{importance[key]:.0%}" if key in importance else "",
        ]
        for key in _by_importance(report)
    ]


def _by_importance(report: Mapping[str, Any]) -> list[str]:
    """Return the keys, those that mattered most first."""
    importance = report["importance"]
    return sorted(report["space"], key=lambda key: -importance.get(key, 0.0))


def _trial_head(report: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    short = _short_keys(report)
    return ["trial", shown_name(report["metric"]), "s", *(short[key] for key in keys)]


def _cells(report: Mapping[str, Any], trial: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    value = {"complete": f"{trial['value'] or 0:.4f}", "same": f"as {trial['why']}"}
    return [
        str(trial["trial"]),
        value.get(trial["state"], trial["state"]),
        f"{trial['seconds']:.0f}",
        *(_text(trial["settings"][key]) for key in keys),
    ]


def _short_keys(report: Mapping[str, Any]) -> dict[str, str]:
    """Return key -> its last steps, as many as make it unlike the others.

    Example::

        >>> _short_keys({"space": {"a.table.lr": 1, "a.dense.lr": 1, "b.dim": 1}})
        {'a.table.lr': 'table.lr', 'a.dense.lr': 'dense.lr', 'b.dim': 'dim'}
    """
    steps = {key: key.split(".") for key in report["space"]}
    found = {}
    for key, own in steps.items():
        n = 1
        while n < len(own) and sum(other[-n:] == own[-n:] for other in steps.values()) > 1:
            n += 1
        found[key] = ".".join(own[-n:])
    return found


def _sorted(report: Mapping[str, Any], trials: list[Any]) -> list[Any]:
    """Return trials, the best first, those without a value last."""
    sign = -1 if higher_is_better(report["metric"]) else 1

    def place(trial: Mapping[str, Any]) -> tuple[bool, float, int]:
        value = trial["value"]
        return value is None, sign * (value or 0.0), trial["trial"]

    return sorted(trials, key=place)


def _domain(domain: Any) -> str:
    if isinstance(domain, list):
        return ", ".join(_text(value) for value in domain)
    return f"{domain['low']:g} to {domain['high']:g}{' (log)' if domain['log'] else ''}"


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    return table

"""The report of an ablation as a page of Markdown, and on the console; numbers come from the report alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interactrank.core.markdown import bold, markdown_table
from interactrank.core.output import ResultConsole
from interactrank.evaluation.metrics import shown_name
from interactrank.evaluation.report import best_of
from interactrank.experiments.findings import LEVEL
from interactrank.experiments.variants import FULL

__all__ = ["GROUPS", "markdown", "show", "step"]

GROUPS = {
    "baseline": "not trained",
    "incremental": "one part more at a time",
    "without": "the full model without a part",
    "with": "the full model with a part more",
}
_FINDINGS = ("the paper", "tested here by", "change", "p", "verdict")


def markdown(report: Mapping[str, Any]) -> str:
    """Return the page: a table of the models, how it was measured, and the paper's findings and ours.

    Args:
        report: of :func:`ablation_report`.

    Returns:
        Markdown without an end of line.
    """
    metric, others = report["settings"]["metric"], _others(report)
    best = {
        m: best_of({name: model["metrics"][m]["value"] for name, model in report["models"].items()}, m)
        for m in (metric, *others)
    }
    heads = [shown_name(name) for name in _heads(report)]
    rows: list[list[str]] = []
    group = None
    for name, model in report["models"].items():
        if model["group"] != group:
            group = model["group"]
            rows.append([f"*{GROUPS[group]}*", *[""] * (len(heads) - 1)])
        cells = _cells(report, name)
        for place, m in zip((1, *range(5, len(heads))), (metric, *others), strict=True):
            cells[place] = bold(cells[place], name in best[m])
        rows.append(cells)
    if report["optimum"]:
        rows.append(_optimum(report))
    findings = [[*cells, bold(says)] for *cells, says in _findings(report)]
    parts = [markdown_table(heads, rows), *_notes(report), markdown_table(_FINDINGS, findings)]
    return "\n\n".join(parts)


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the report.

    Args:
        report: of :func:`ablation_report`.
        console: where to; standard output when left out.
    """
    console = console or ResultConsole()
    models, group = _table(*_heads(report), title="Ablation"), None
    for name, model in report["models"].items():
        if model["group"] != group:
            group = model["group"]
            models.add_section()
            models.add_row(GROUPS[group], style="dim italic")
        cells = [Text(cell) for cell in _cells(report, name)]
        cells[3].stylize(_colour(step(report, name)[1]))
        models.add_row(*cells)
    if report["optimum"]:
        models.add_row(*_optimum(report), style="dim")
    findings = _table(*_FINDINGS, title="The paper's findings on this log")
    for row in _findings(report):
        findings.add_row(*row)
    width = console.width
    try:
        console.width = max(width, 160)  # no number is cut
        console.print(models)
        for note in _notes(report):
            console.print(note, soft_wrap=True, highlight=False, markup=False)
        console.print(findings)
    finally:
        console.width = width


def step(report: Mapping[str, Any], name: str) -> tuple[str | None, dict[str, Any] | None]:
    """Return what a model is compared with, and by how much it is better.

    Args:
        report: of :func:`ablation_report`.
        name: of the model.

    Returns:
        The other model, and ``difference``, ``low``, ``high``, ``p_value``, ``p_holm`` and ``seeds`` of the
        report's metric; None where there is none.
    """
    against, metric = report["models"][name]["compared_with"], report["settings"]["metric"]
    if against is None:
        return None, None
    if found := report["paired"].get(f"{name} - {against}"):
        return against, found[metric]
    found = report["paired"][f"{against} - {name}"][metric]
    difference, low, high = (_negative(found[key]) for key in ("difference", "high", "low"))
    seeds = [_negative(of) for of in found["seeds"]]
    return against, {**found, "difference": difference, "low": low, "high": high, "seeds": seeds}


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _heads(report: Mapping[str, Any]) -> list[str]:
    return ["", report["settings"]["metric"], "seeds", "change", "p", *_others(report)]


def _others(report: Mapping[str, Any]) -> list[str]:
    """Return what a table shows in addition to the metric of the tests."""
    metric = report["settings"]["metric"]
    return [m for m in next(iter(report["paired"].values()), {}) if m != metric]


def _cells(report: Mapping[str, Any], name: str) -> list[str]:
    """Return the row of a model."""
    model, metric = report["models"][name], report["settings"]["metric"]
    _, found = step(report, name)
    value = model["metrics"][metric]
    seeds = sorted(_number(seed[metric]) for seed in model["seeds"].values() if seed[metric] is not None)
    interval = f" ({_number(value['low'])}-{_number(value['high'])})" if value["value"] is not None else ""
    return [
        model["label"],
        _number(value["value"]) + interval,
        f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else "",
        *_change(found),
        *(_value(model, m) for m in _others(report)),
    ]


def _optimum(report: Mapping[str, Any]) -> list[str]:
    best, metric = report["optimum"], report["settings"]["metric"]
    return ["the optimum", _number(best[metric]), "", "", "", *(_number(best[m]) for m in _others(report))]


def _findings(report: Mapping[str, Any]) -> Iterator[list[str]]:
    for finding in report["findings"]:
        pair, found = "", None
        if finding["pair"] is not None:
            first, other = (_short(report, name) for name in finding["pair"].split(" - "))
            pair = f"{first} against {other}"
            found = report["paired"][finding["pair"]][report["settings"]["metric"]]
        yield [finding["paper"], pair, *_change(found), finding["verdict"]]


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    settings, data = report["settings"], report["data"]
    metric = settings["metric"].upper()
    of = {"logged": "their logged candidates", "catalogue": "the whole catalogue"}[data["candidates"]]
    lone = [
        f"{model['label']} against {_short(report, model['compared_with'])}"
        for model in report["models"].values()
        if model["compared_with"] is not None
        and report["models"][model["compared_with"]]["group"] == "baseline"
    ]
    yield (
        f"{data['ranked']:,} {data['split']} requests, each ranking {of}; {settings['seeds']} "
        f"seed{'s' * (settings['seeds'] > 1)}. A value is the mean over the seeds, request by request; in "
        f"brackets its 95 % bootstrap interval over {settings['resampled']}, without the spread of the seeds "
        f"(lowest to highest {metric}). "
        f"Change: of {metric}, against the row above, or against full below it"
        f"{''.join(f'; {text}' for text in lone)}. p: paired sign-flip test, corrected by Holm for the "
        f"{settings['tests']} tests of the ablation. "
        + ", ".join(f"{name} {report['versions'][name]}" for name in ("torch", "torchrec", "fbgemm"))
        + "."
    )
    for model in report["models"].values():
        if model["equivalent_to"]:
            yield f"The same model as {model['label']}: {', '.join(model['equivalent_to'])}."
    for which, why in report["failed"].items():
        yield f"Not trained: {which}: {why}"
    yield (
        "The paper's findings on this log. It agrees or disagrees where the interval of the difference "
        f"leaves out 0, p < {LEVEL:g}, and every seed says the same."
    )


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        text = number == 0 or (name in _FINDINGS and name not in ("change", "p"))
        table.add_column(name, justify="left" if text else "right", no_wrap=name not in _FINDINGS[:2])
    return table


def _short(report: Mapping[str, Any], name: str) -> str:
    return FULL if name == FULL else str(report["models"][name]["label"])


def _colour(found: Mapping[str, Any] | None) -> str:
    if found is None or found["p_holm"] is None or found["p_holm"] >= LEVEL:
        return "default"
    return "green" if found["difference"] > 0 else "red"


def _value(model: Mapping[str, Any], metric: str) -> str:
    return _number(model["metrics"][metric]["value"])


def _change(found: Mapping[str, Any] | None) -> list[str]:
    """Return a difference with its interval, and its corrected p-value."""
    if found is None:
        return ["", ""]
    if found["difference"] is None:
        return ["-", "-"]
    low, high = _number(found["low"], "+"), _number(found["high"], "+")
    return [f"{_number(found['difference'], '+')} ({low} to {high})", _number(found["p_holm"])]


def _number(value: float | None, sign: str = "") -> str:
    """Three decimals, never -0.000; what is not defined, such as the interval of one request, has none."""
    return "-" if value is None else f"{round(value, 3) + 0.0:{sign}.3f}"

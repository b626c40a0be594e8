"""The report of an ablation as a page of Markdown, and on the console; numbers come from the report alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from interactrank.ablation.findings import LEVEL
from interactrank.ablation.grid import FULL

__all__ = ["GROUPS", "markdown", "show", "step"]

GROUPS = {
    "baseline": "not trained",
    "ladder": "one part more at a time",
    "without": "the full model without a part",
    "with": "the full model with a part more",
}


def markdown(report: Mapping[str, Any], *, level: int = 2) -> str:
    """The page: a table of the models, how it was measured, and the paper's findings beside ours.

    Args:
        report: of :func:`ablation_report`.
        level: of its headings.

    Returns:
        Markdown without an end of line.
    """
    metric = report["settings"]["metric"]
    others = [m for m in _metrics(report) if m not in (metric, "recall@100", "auc")]
    heads = [
        "",
        metric.upper(),
        "seeds",
        "against",
        f"change of {metric.upper()}",
        "p",
        *map(str.upper, others),
    ]
    lines = [_row(heads), _row(["---"] * len(heads))]
    best = {m: max(_value(model, m) for model in report["models"].values()) for m in (metric, *others)}
    for name, model in report["models"].items():
        against, found = step(report, name)
        lines.append(
            _row(
                [
                    model["label"],
                    _bold(_interval(model["metrics"][metric]), _value(model, metric) == best[metric]),
                    _spread(model, metric),
                    "" if against is None else _short(report, against),
                    "" if found is None else _difference(found),
                    "" if found is None else _p(found["p_holm"]),
                    *(_bold(f"{_value(model, m):.3f}", _value(model, m) == best[m]) for m in others),
                ]
            )
        )
    if (optimum := report["optimum"].get(metric)) is not None:
        rest = [f"{report['optimum'][m]:.3f}" for m in others]
        lines.append(_row(["the optimum", f"{optimum:.3f}", "", "", "", "", *rest]))
    parts = ["\n".join(lines), *_notes(report)]
    heads = ["the paper", "here: first minus other", f"change of {metric.upper()}", "p", "verdict"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for finding in report["findings"]:
        pair, found = _pair(report, finding)
        cells = ["", ""] if found is None else [_difference(found), _p(found["p_holm"])]
        lines.append(_row([finding["paper"], pair, *cells, f"**{finding['verdict']}**"]))
    parts += [f"{'#' * level} The paper's findings on this log", "\n".join(lines)]
    return "\n\n".join(parts)


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the report.

    Args:
        report: of :func:`ablation_report`.
        console: where to; standard output when left out.
    """
    console = console or Console()
    metric = report["settings"]["metric"]
    others = [m for m in _metrics(report) if m != metric]
    models = _table("", metric, "seeds", "change", "p", "against", *others, title="Ablation")
    group = None
    for name, model in report["models"].items():
        if model["group"] != group:
            group = model["group"]
            models.add_section()
            models.add_row(GROUPS[group], style="dim italic")
        against, found = step(report, name)
        models.add_row(
            model["label"],
            _interval(model["metrics"][metric]),
            _spread(model, metric),
            "" if found is None else f"[{_colour(found)}]{_difference(found)}",
            "" if found is None else _p(found["p_holm"]),
            "" if against is None else _short(report, against),
            *(f"{_value(model, m):.3f}" for m in others),
        )
    if report["optimum"]:
        rest = [f"{report['optimum'][m]:.3f}" for m in others]
        models.add_row("the optimum", f"{report['optimum'][metric]:.3f}", "", "", "", "", *rest, style="dim")
    findings = _table("the paper", "here: first minus other", "change", "p", "verdict", title="Findings")
    for finding in report["findings"]:
        pair, found = _pair(report, finding)
        cells = ["", ""] if found is None else [_difference(found), _p(found["p_holm"])]
        findings.add_row(finding["paper"], pair, *cells, finding["verdict"])
    width = console.width
    try:
        console.width = max(width, 200)  # no number is cut
        console.print(models)
        for note in _notes(report):
            console.print(note, soft_wrap=True, highlight=False, markup=False)
        console.print(findings)
    finally:
        console.width = width


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        text = number == 0 or name in ("against", "here: first minus other", "verdict")
        table.add_column(name, justify="left" if text else "right", no_wrap=name != "the paper")
    return table


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    settings, data = report["settings"], report["data"]
    metric = settings["metric"].upper()
    of = {"logged": "their logged candidates", "catalogue": "the whole catalogue"}[data["candidates"]]
    yield (
        f"{data['ranked']:,} {data['split']} requests, each ranking {of}; {settings['seeds']} seeds. A value "
        "is the mean over the seeds, request by request; in brackets its 95 % bootstrap interval over "
        f"{settings['resampled']}, which the spread of the seeds (lowest to highest {metric}) is no part of. "
        f"p: paired sign-flip test, corrected by Holm for the {settings['tests']} tests of the ablation."
    )
    for model in report["models"].values():
        if model["also"]:
            yield f"The same model as {model['label']}: {', '.join(model['also'])}."
    for which, why in report["failed"].items():
        yield f"Not trained: {which}: {why}"
    yield (
        "This log agrees or disagrees with a finding where the interval of the difference leaves out 0 and "
        f"p < {LEVEL:g}. "
        + ", ".join(f"{name} {report['versions'][name]}" for name in ("torch", "torchrec", "fbgemm"))
        + "."
    )


def _metrics(report: Mapping[str, Any]) -> list[str]:
    return list(next(iter(report["models"].values()))["metrics"])


def step(report: Mapping[str, Any], name: str) -> tuple[str | None, dict[str, Any] | None]:
    """What a model is compared with, and by how much it is better.

    Args:
        report: of :func:`ablation_report`.
        name: of the model.

    Returns:
        The other model, and ``difference``, ``low``, ``high``, ``p_value``, ``p_holm`` of the report's
        metric; None where there is none.
    """
    model = report["models"][name]
    against, metric = model["against"], report["settings"]["metric"]
    if against is None:
        return None, None
    if found := report["paired"].get(f"{name} - {against}"):
        return against, found[metric]
    found = report["paired"][f"{against} - {name}"][metric]
    turned = {"difference": -found["difference"], "low": -found["high"], "high": -found["low"]}
    return against, {**found, **turned}


def _pair(report: Mapping[str, Any], finding: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    if finding["pair"] is None:
        return "", None
    first, other = (_short(report, name) for name in finding["pair"].split(" - "))
    return f"({first}) minus ({other})", report["paired"][finding["pair"]][report["settings"]["metric"]]


def _short(report: Mapping[str, Any], name: str) -> str:
    return FULL if name == FULL else str(report["models"][name]["label"])


def _colour(found: Mapping[str, Any]) -> str:
    if not found["p_holm"] < LEVEL:
        return "default"
    return "green" if found["difference"] > 0 else "red"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _value(model: Mapping[str, Any], metric: str) -> float:
    return float(model["metrics"][metric]["value"])


def _interval(found: Mapping[str, Any]) -> str:
    return f"{_number(found['value'])} ({_number(found['low'])}-{_number(found['high'])})"


def _spread(model: Mapping[str, Any], metric: str) -> str:
    values = [seed[metric] for seed in model["seeds"].values()]
    return "" if len(values) < 2 else f"{min(values):.3f}-{max(values):.3f}"


def _difference(found: Mapping[str, Any]) -> str:
    low, high = _number(found["low"], "+"), _number(found["high"], "+")
    return f"{_number(found['difference'], '+')} ({low} to {high})"


def _number(value: float | None, sign: str = "") -> str:
    """Three decimals; an interval of fewer than two requests has none."""
    return "-" if value is None else f"{value:{sign}.3f}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"

"""The models of an ablation: a ladder from plain to full, the full model without each part, and with more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from interactrank.core.settings import ConfigError, near
from interactrank.experiments.parts import IQP, Parts
from interactrank.runs.config import RunConfig

__all__ = ["FULL", "PLAIN", "Rung", "ablation_grid", "find", "keep"]

FULL, PLAIN = "full", "plain_two_tower"


@dataclass(frozen=True)
class Rung:
    """A model of an ablation.

    Attributes:
        name: of its folder; a name of ``variants`` in the config, but for the baselines.
        label: for readers.
        group: ``baseline`` (not trained), ``ladder`` (each adds a part to the one before), ``without`` (full,
            less a part) or ``with`` (full, and a part that the config does not use).
        against: the model that it is compared with: the one before it, or the full one; None for the first.
        changes: sections that differ from the full model's config.
        also: labels of the models that would be the same and are therefore not trained again.
    """

    name: str
    label: str
    group: Literal["baseline", "ladder", "without", "with"]
    against: str | None
    changes: dict[str, Any]
    also: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it is trained, once a seed."""
        return self.group != "baseline"


def ablation_grid(config: RunConfig) -> list[Rung]:
    """The models of an ablation of a config, whatever log it is of.

    The ladder: BM25 and counts where the schema allows; the two-tower without sequence, crossing, in-batch
    softmax, history and lexical features; then one part more at a time, among those that the config uses, up
    to the config itself. Parts that it does not use are tried on top of it. Models that would be the same are
    listed once.

    Args:
        config: of the full model; its own ``variants`` are not looked at.

    Returns:
        Baselines, ladder (the last is ``full``), ``without`` and ``with``.

    Example::

        >>> from interactrank.runs.config import load_config
        >>> for rung in ablation_grid(load_config("examples/configs/lastfm.yaml")):
        ...     print(f"{rung.name}: {rung.label}")
        bm25: BM25
        counts: C(p, q) / C(q)
        plain_two_tower: two-tower
        plus_sequence: + user sequence
        plus_iqp_query: + IQP of the query (all time)
        full: + IQP back-off (words, all, user, history, history-query) = full
        full_without_sequence: full - user sequence
        full_with_mask_net: full + MaskNet
        full_with_sampled_softmax: full + sampled softmax (weight 0.01)
        full_with_log_q: full + sampled softmax (weight 0.01) + logQ
        full_with_lexical: full + lexical match
    """
    parts = Parts(config)
    rungs = _baselines(config)
    for rung in [*_ladder(parts, rungs), *_without(parts), *_with(parts)]:
        same = next((r for r in rungs if r.trained and r.changes == rung.changes), None)
        if same is None:
            rungs.append(rung)
        else:
            rungs[rungs.index(same)] = replace(same, also=(*same.also, rung.label))
    return rungs


def find(rungs: Sequence[Rung], changes: dict[str, Any]) -> Rung | None:
    """The trained model with these changes; None where the grid has none."""
    return next((r for r in rungs if r.trained and r.changes == changes), None)


def keep(rungs: Sequence[Rung], names: Sequence[str]) -> list[Rung]:
    """Some models of a grid; those of the ladder are then compared with the one before that is left.

    Args:
        rungs: the grid.
        names: of the models to keep; all of them when empty.

    Raises:
        ConfigError: there is no such model, or fewer than two are left.
    """
    if not names:
        return list(rungs)
    known = [rung.name for rung in rungs]
    for name in names:
        if name not in known:
            raise ConfigError(f"--only: no model '{name}' in the grid{near(name, known)}")
    kept = [rung for rung in rungs if rung.name in names]
    if len(kept) < 2:
        raise ConfigError(
            f"nothing to ablate: --only keeps {kept[0].name} alone; name two or more of {', '.join(known)}"
        )
    against = {rung.name: rung.against for rung in rungs}

    def nearest(name: str | None) -> str | None:
        while name is not None and name not in names:
            name = against[name]
        return name

    return [
        replace(
            r, against=nearest(r.against) if r.group in ("baseline", "ladder") or r.against in names else None
        )
        for r in kept
    ]


def _baselines(config: RunConfig) -> list[Rung]:
    rungs: list[Rung] = []
    if any(f.analyzer == "words" for f in config.search.lexical):
        rungs.append(Rung("bm25", "BM25", "baseline", None, {}))
    if any(f.key == "query" and f.window is None and f.segment is None for f in config.search.iqp):
        first = rungs[0].name if rungs else None
        rungs.append(Rung("counts", "C(p, q) / C(q)", "baseline", first, {}))
    return rungs


def _ladder(parts: Parts, baselines: Sequence[Rung]) -> list[Rung]:
    has: list[str] = []
    # Against the first baseline, BM25 where there is text: to counts, a two-tower adds nothing.
    before = baselines[0].name if baselines else None
    rungs = [Rung(PLAIN, "two-tower", "ladder", before, parts.changes(has))]
    for part in parts.used:
        has.append(part)
        name, label = f"plus_{parts.name(part)}", f"+ {parts.label(part)}"
        rungs.append(Rung(name, label, "ladder", rungs[-1].name, parts.changes(has)))
    rungs[-1] = replace(rungs[-1], name=FULL, label=f"{rungs[-1].label} = full")
    return rungs


def _without(parts: Parts) -> list[Rung]:
    iqp = [part for part in IQP if part in parts.used]
    less = {part: ([part], parts.name(part), parts.label(part)) for part in parts.used if part not in iqp}
    if iqp:
        less["iqp"] = (iqp, "iqp", "IQP")
    return [
        Rung(
            f"full_without_{name}",
            f"full - {label}",
            "without",
            FULL,
            parts.changes([part for part in parts.used if part not in removed]),
        )
        for removed, name, label in less.values()
    ]


def _with(parts: Parts) -> list[Rung]:
    iqp = [part for part in IQP if part in parts.offered]
    more = {part: ([part], parts.name(part), parts.label(part)) for part in parts.offered if part not in iqp}
    if "sampled_softmax" in more and "log_q" in more:
        more["log_q"] = (
            ["sampled_softmax", "log_q"],
            "log_q",
            f"{parts.label('sampled_softmax')} + {parts.label('log_q')}",
        )
    if iqp:
        more["iqp"] = (iqp, "iqp", "IQP")
    return [
        Rung(f"full_with_{name}", f"full + {label}", "with", FULL, parts.changes([*parts.used, *added]))
        for added, name, label in more.values()
    ]

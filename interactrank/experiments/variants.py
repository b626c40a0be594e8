"""The models of an ablation: from plain to full part by part, full without each part, and with more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from interactrank.core.settings import ConfigError, near
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.experiments.parts import IQP, Parts
from interactrank.runs.config import RunConfig

__all__ = ["FULL", "PLAIN", "Variant", "ablation_grid", "find", "select"]

FULL, PLAIN = "full", "plain_two_tower"


@dataclass(frozen=True)
class Variant:
    """A model of an ablation.

    Attributes:
        name: of its folder; a name of ``variants`` in the config, but for the baselines.
        label: for readers.
        group: ``baseline`` (not trained), ``incremental`` (each adds a part to the one before), ``without``
            (full, less a part) or ``with`` (full, and a part that the config does not use).
        compared_with: the model before it, or the full one; None for the first.
        changes: sections that differ from the full model's config.
        equivalent_to: labels of the models that would be the same and are therefore not trained again.
    """

    name: str
    label: str
    group: Literal["baseline", "incremental", "without", "with"]
    compared_with: str | None
    changes: dict[str, Any]
    equivalent_to: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it is trained, once a seed."""
        return self.group != "baseline"


def ablation_grid(config: RunConfig) -> list[Variant]:
    """Return the models of an ablation of a config, whatever log it is of.

    First: BM25 and counts where the schema allows; the two-tower without sequence, crossing, in-batch
    softmax and cross features; then one part more at a time, among those that the config uses, up
    to the config itself. Parts that it does not use are tried on top of it. Models that would be the same are
    listed once.

    Args:
        config: of the full model; its own ``variants`` are not looked at.

    Returns:
        Baselines, ``incremental`` (the last is ``full``), ``without`` and ``with``.

    Example::

        >>> from interactrank.runs.config import load_config
        >>> for variant in ablation_grid(load_config("examples/configs/lastfm.yaml")):
        ...     print(f"{variant.name}: {variant.label}")
        bm25: BM25
        counts: C(p, q) / C(q)
        plain_two_tower: two-tower
        plus_sequence: + user sequence
        plus_sampled_softmax: + sampled softmax (weight 1)
        plus_log_q: + logQ
        plus_iqp_query: + IQP of the query (all time)
        full: + IQP back-off (words, all, user, item cosine, query cosine) = full
        full_without_sequence: full - user sequence
        full_without_sampled_softmax: full - sampled softmax (weight 1)
        full_without_log_q: full - logQ
        full_with_mask_net: full + MaskNet
        full_with_lexical: full + lexical match
    """
    parts = Parts(config)
    variants = _baselines(config)
    for variant in [*_incremental(parts, variants), *_without(parts), *_with(parts)]:
        same = next((r for r in variants if r.trained and r.changes == variant.changes), None)
        if same is None:
            variants.append(variant)
        else:
            variants[variants.index(same)] = replace(same, equivalent_to=(*same.equivalent_to, variant.label))
    return variants


def find(variants: Sequence[Variant], changes: dict[str, Any]) -> Variant | None:
    """Return the trained model with these changes; None if the grid has none."""
    return next((r for r in variants if r.trained and r.changes == changes), None)


def select(variants: Sequence[Variant], names: Sequence[str]) -> list[Variant]:
    """Return some models of a grid; incremental ones are compared with the one before that is left.

    Args:
        variants: the grid.
        names: of the models to keep; all of them when empty.

    Raises:
        ConfigError: there is no such model, or fewer than two are left.
    """
    if not names:
        return list(variants)
    known = [variant.name for variant in variants]
    for name in names:
        if name not in known:
            raise ConfigError(f"--only: no model '{name}' in the grid{near(name, known)}")
    kept = [variant for variant in variants if variant.name in names]
    if len(kept) < 2:
        raise ConfigError(
            f"nothing to ablate: --only keeps {kept[0].name} alone; name two or more of {', '.join(known)}"
        )
    before = {variant.name: variant.compared_with for variant in variants}

    def nearest(name: str | None) -> str | None:
        while name is not None and name not in names:
            name = before[name]
        return name

    return [
        replace(v, compared_with=nearest(v.compared_with) if _steps_back(v, names) else None) for v in kept
    ]


def _steps_back(variant: Variant, names: Sequence[str]) -> bool:
    """Return whether a selected variant is compared with one that is selected, too, or with one before it."""
    return variant.group in ("baseline", "incremental") or variant.compared_with in names


def _baselines(config: RunConfig) -> list[Variant]:
    """Return the registered baselines that the schema allows, each compared with the first."""
    rules = [b for b in BASELINES.values() if not b.search_space]  # a fitted one is a rival, not a rung
    possible = [baseline for baseline in rules if not baseline.problems(config.search)]
    first = [None, *(possible[0].name for _ in possible[1:])]
    return [
        Variant(baseline.name, baseline.title, "baseline", before, {})
        for baseline, before in zip(possible, first, strict=False)
    ]


def _incremental(parts: Parts, baselines: Sequence[Variant]) -> list[Variant]:
    has: list[str] = []
    # Against the first baseline, BM25 where there is text: to counts, a two-tower adds nothing.
    before = baselines[0].name if baselines else None
    variants = [Variant(PLAIN, "two-tower", "incremental", before, parts.changes(has))]
    for part in parts.used:
        has.append(part)
        name, label = f"plus_{parts.name(part)}", f"+ {parts.label(part)}"
        variants.append(Variant(name, label, "incremental", variants[-1].name, parts.changes(has)))
    variants[-1] = replace(variants[-1], name=FULL, label=f"{variants[-1].label} = full")
    return variants


def _without(parts: Parts) -> list[Variant]:
    iqp = [part for part in IQP if part in parts.used]
    less = {part: ([part], parts.name(part), parts.label(part)) for part in parts.used if part not in iqp}
    if iqp:
        less["iqp"] = (iqp, "iqp", "IQP")
    return [
        Variant(
            f"full_without_{name}",
            f"full - {label}",
            "without",
            FULL,
            parts.changes([part for part in parts.used if part not in removed]),
        )
        for removed, name, label in less.values()
    ]


def _with(parts: Parts) -> list[Variant]:
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
        Variant(f"full_with_{name}", f"full + {label}", "with", FULL, parts.changes([*parts.used, *added]))
        for added, name, label in more.values()
    ]

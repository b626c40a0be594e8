"""A day of searches: every arm ranks all of them, each user sees the list of one arm and responds.

Shapes: R searches of a day, K places of a list, A arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.core.atomic_directory import atomic_directory
from interactrank.data.extras import pq
from interactrank.experiments.loop.arms import Arm, ModelRanker, Ranker, arm_of_users
from interactrank.experiments.loop.site import Day, Site

__all__ = ["BOUNDS", "Outcomes", "join", "load_outcomes", "serve_day"]

Outcomes = dict[str, npt.NDArray[Any]]
"""Columns of R searches: ``user``, ``arm`` (its number), ``engaged`` (how many items of the list that the
user saw were engaged with), and ``expected.<arm or bound>``: the expected number, had the user seen that."""

BOUNDS = {"optimum": "the optimum", "retrieval": "order of the retrieval", "chance": "random order"}
"""Lists that nobody sees: name -> title."""

_FILE = "outcomes.npz"


def serve_day(
    site: Site,
    day: Day,
    requests: Sequence[Mapping[str, Any]],
    arms: Sequence[Arm],
    rankers: Mapping[str, Ranker],
    folder: Path,
) -> Outcomes:
    """Serve a day and write what was shown as a log, with the outcomes next to it, whole or not at all.

    Args:
        site: where it happens.
        day: the searches.
        requests: the same, as rankers read them.
        arms: A of them.
        rankers: arm -> what ranks for it on this day.
        folder: of the day; gets ``events.parquet`` and ``outcomes.npz``.
    """
    searches = day.searches
    lists = {
        arm.name: day.slots(rankers[arm.name].best(requests, day.items, site.shown))
        for arm in arms
        if not arm.live
    }
    bounds = {"optimum": site.optimum(day), "retrieval": day.slot[:, : site.shown]}
    seen = np.array([number for number, arm in enumerate(arms) if arm.shown])
    arm_of = seen[arm_of_users(searches.user, len(seen), f"loop-{site.settings.seed}")]
    shown = bounds["retrieval"].copy()
    for number in seen.tolist():
        shown[arm_of == number] = lists[arms[number].name][arm_of == number]
    responses = site.respond(day, shown)
    log = site.log(searches, shown, responses)
    for arm in arms:
        if arm.live:
            ranker = rankers[arm.name]
            assert isinstance(ranker, ModelRanker)
            rows = [log.slice(n * site.shown, site.shown).to_pylist() for n in range(len(searches))]
            lists[arm.name] = day.slots(ranker.best_live(requests, day.items, site.shown, rows))
    outcomes: Outcomes = {
        "user": searches.user,
        "arm": arm_of,
        "engaged": responses.engaged.sum(axis=1).astype(np.float64),
        "expected.chance": site.chance(day),
    }
    for name, slots in (lists | bounds).items():
        probability = site.respond(day, slots).probability
        outcomes[f"expected.{name}"] = probability.sum(axis=1, dtype=np.float64)
    with atomic_directory(folder, last=_FILE) as partial:
        pq.write_table(log, partial / "events.parquet")
        with (partial / _FILE).open("wb") as file:
            np.savez(file, **outcomes)  # type: ignore[arg-type]  # its stub takes no mapping
    return outcomes


def load_outcomes(folder: Path) -> Outcomes | None:
    """Return the outcomes of a day that was served; None if it was not."""
    if not (folder / _FILE).exists():
        return None
    with np.load(folder / _FILE) as values:  # arrays of numbers: no pickle
        return {name: values[name] for name in values.files}


def join(days: Sequence[Outcomes]) -> Outcomes:
    """Return the outcomes of several days as one."""
    return {name: np.concatenate([day[name] for day in days]) for name in days[0]}

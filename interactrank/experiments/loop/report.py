"""The report of the closed loop: engagement by arm and day, lifts, and the paper's online table next to them.

Shapes: R requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.core.markdown import markdown_table
from interactrank.experiments.loop.arms import Arm
from interactrank.experiments.loop.estimates import (
    Estimate,
    lift_of_groups,
    lift_on_same_requests,
    mean_by_user,
)
from interactrank.experiments.loop.outcomes import BOUNDS, Outcomes, join

__all__ = ["CLAIMS", "loop_report", "markdown"]

CLAIMS = (
    ("two_tower", "bm25", None),
    ("interactrank", "bm25", 0.065),
    ("interactrank", "two_tower", 0.037),
    ("histories", "frozen", None),
    ("interactrank", "histories", None),
    ("interactrank", "frozen", None),
    ("live", "interactrank", None),
)
"""Arm, arm that it should be above, and the lift that the paper's online experiment found.

Zhang et al., "InteractRank: Personalized web-scale search pre-ranking with cross interaction features",
WWW 2025, arXiv 2504.06609.
"""


def loop_report(
    arms: Sequence[Arm],
    names: Sequence[str],
    days: Sequence[Outcomes],
    costs: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """Return the report in JSON's types.

    Args:
        arms: of the experiment.
        names: of the days.
        days: the outcomes of each.
        costs: of each night, the first one before the first day.
    """
    total = join(days)
    return {
        "engagements_per_request": _engagement(arms, total),
        "lifts": [
            _lift(arms, total, arm, over, paper)
            for arm, over, paper in CLAIMS
            if {arm, over} <= {a.name for a in arms}
        ],
        "days": [{"day": name, **_engagement(arms, day)} for name, day in zip(names, days, strict=True)],
        "nights": [dict(night) for night in costs],
    }


def _engagement(arms: Sequence[Arm], outcomes: Outcomes) -> dict[str, Any]:
    """Return the engagements per request of arms and bounds."""
    users, chance = outcomes["user"], outcomes["expected.chance"].mean()
    possible = outcomes["expected.optimum"].mean() - chance
    found: dict[str, Any] = {}
    for number, arm in enumerate(arms):
        own, expected = outcomes["arm"] == number, outcomes[f"expected.{arm.name}"]
        found[arm.name] = {
            "title": arm.title,
            "users": _users(users[own]),
            "requests": int(own.sum()),
            "own_users": None,
            "all_users": mean_by_user(expected, users)._asdict(),
            "share_of_possible": float((expected.mean() - chance) / possible),
        }
        if _users(users[own]) > 1:  # of one alone there is no interval
            seen = mean_by_user(outcomes["engaged"][own], users[own])
            found[arm.name]["own_users"] = seen._asdict()
    for name, title in BOUNDS.items():
        expected = outcomes[f"expected.{name}"]
        found[name] = {
            "title": title,
            "requests": 0,
            "all_users": mean_by_user(expected, users)._asdict(),
            "share_of_possible": float((expected.mean() - chance) / possible),
        }
    return {"searches": len(users), "of": found}


def _users(users: npt.NDArray[Any]) -> int:
    return len(np.unique(users))


def _lift(
    arms: Sequence[Arm], outcomes: Outcomes, arm: str, over: str, paper: float | None
) -> dict[str, Any]:
    """Return the lift of an arm over another, by its own users and on all searches."""
    number = {a.name: n for n, a in enumerate(arms)}
    users, engaged = outcomes["user"], outcomes["engaged"]
    first, second = (outcomes["arm"] == number[name] for name in (arm, over))
    own = None
    if _users(users[first]) > 1 and _users(users[second]) > 1:
        own = lift_of_groups(engaged[first], users[first], engaged[second], users[second])
    every = lift_on_same_requests(outcomes[f"expected.{arm}"], outcomes[f"expected.{over}"], users)
    return {
        "arm": arm,
        "over": over,
        "own_users": None if own is None else own._asdict(),
        "all_users": every._asdict(),
        "paper": paper,
        "verdict": verdict(own, every),
        "size": None if paper is None else size(every, paper),
    }


def verdict(own: Estimate | None, every: Estimate) -> str:
    """Return whether an arm is above another, as claimed: by its own users, and on all searches.

    Example::

        >>> verdict(Estimate(0.1, 0.05, 0.15), Estimate(0.1, 0.08, 0.12))
        'agrees'
        >>> verdict(Estimate(0.1, -0.05, 0.25), Estimate(0.1, 0.08, 0.12))
        'agrees on all searches; its own users alone do not show it'
    """
    if every.low > 0:
        if own is None:
            return "agrees on all searches"
        return "agrees" if own.low > 0 else "agrees on all searches; its own users alone do not show it"
    return "does not agree" if every.high < 0 else "no difference shown"


def size(lift: Estimate, paper: float) -> str:
    """Return how a lift compares with the paper's.

    Example::

        >>> size(Estimate(0.3, 0.2, 0.4), 0.065)
        'larger here'
    """
    if lift.low <= paper <= lift.high:
        return "within the interval"
    return "larger here" if lift.low > paper else "smaller here"


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    total = report["engagements_per_request"]
    lines = [
        f"# The closed loop: {report['days_served']} days, {total['searches']:,} searches, lists of "
        f"{report['shown']}",
        "",
        _arms(total["of"]),
        "",
        _lifts(report["lifts"], {name: of["title"] for name, of in total["of"].items()}),
        "",
        f"Seconds: {_seconds(report['nights'])}.",
    ]
    return "\n".join(lines) + "\n"


def _arms(of: Mapping[str, Any]) -> str:
    rows = [
        [
            found["title"],
            f"{found['users']:,} / {found['requests']:,}" if found["requests"] else "-",
            _interval(found.get("own_users"), "{:.3f}"),
            _interval(found["all_users"], "{:.3f}"),
            f"{found['share_of_possible']:.1%}",
        ]
        for found in of.values()
    ]
    head = ["engagements per request", "users / requests", "its own users", "all searches", "of the possible"]
    return markdown_table(head, rows)


def _lifts(lifts: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    rows = [
        [
            f"{titles[lift['arm']]} over {titles[lift['over']]}",
            _interval(lift["own_users"], "{:+.1%}"),
            _interval(lift["all_users"], "{:+.1%}"),
            "-" if lift["paper"] is None else f"{lift['paper']:+.1%}, {lift['size']}",
            lift["verdict"],
        ]
        for lift in lifts
    ]
    return markdown_table(["lift", "its own users", "all searches", "the paper's", "direction"], rows)


def _interval(of: Mapping[str, float] | None, number: str) -> str:
    if of is None:
        return "-"
    low, high = number.format(of["low"]), number.format(of["high"])
    return f"{number.format(of['value'])} [{low}, {high}]"


def _seconds(nights: Sequence[Mapping[str, float]]) -> str:
    first, later = nights[0], nights[1:]
    text = f"before the first day {sum(first.values()):.0f}"
    if later:
        text += f", a night {sum(sum(n.values()) for n in later) / len(later):.1f}"
    return text

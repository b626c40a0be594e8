"""What a user should know of a dataset before the training: what is dropped, and what cannot be evaluated."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from interactrank.core.constant_numbers import is_constant
from interactrank.data.prepared.columns import SPLITS

__all__ = ["log_remarks", "remarks"]

SEVERAL = {
    "user": "users, and count as the first row's: is schema.events.request a request's own id?",
    "query": "queries, and count as the first row's: is schema.events.request a request's own id?",
    "time": "times, and count as of the earliest",
    "split": "splits, and count as the last of them, so that no row of test is trained on",
}
"""What the rows of a request should share -> what is said where they do not."""

logger = logging.getLogger(__name__)


def log_remarks(manifest: Mapping[str, Any]) -> None:
    """Log the remarks on a dataset as warnings."""
    for remark in remarks(manifest):
        logger.warning("%s", remark)


def remarks(manifest: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that will make a model or a metric less than its settings suggest.

    Args:
        manifest: of the dataset.

    Example::

        >>> price = {"minimum": 5.0, "maximum": 5.0, "mean": 5.0, "std": 0.0}
        >>> remarks({"numbers": {"price": price}, "requests": {"test": 3}, "positives": {"test": {}}})
        ["number feature 'price' is dropped: constant, 5 in all training data"]
    """
    return [
        *_not_as_logged(manifest),
        *_dropped(manifest["numbers"]),
        *_not_evaluable(manifest["requests"], manifest["positives"]),
    ]


def _not_as_logged(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from manifest.get("unmatched", [])
    for what, n in manifest.get("several_in_request", {}).items():
        yield f"{n:,} requests have rows of several {SEVERAL[what]}"
    for cap, n in manifest.get("capped", {}).items():
        yield f"{n:,} events are left out by prepare.{cap}"
    if early := manifest.get("before_request", 0):
        yield (
            f"{early:,} engagements have an event_time before their request: they are counted from the time "
            "of the request on"
        )


def _dropped(numbers: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for name, s in numbers.items():
        if is_constant(minimum=s["minimum"], maximum=s["maximum"], std=s["std"]):
            yield f"number feature '{name}' is dropped: constant, {s['mean']:g} in all training data"


def _not_evaluable(
    requests: Mapping[str, int], positives: Mapping[str, Mapping[str, Mapping[str, int]]]
) -> Iterator[str]:
    if not requests["test"]:
        yield "there are no test requests to evaluate on; see prepare.split"
    for split in SPLITS:
        for head, count in positives.get(split, {}).items():
            if not requests[split]:
                continue
            if not count["with_positive"]:
                yield f"no {split} request has a positive of head {head}"
            elif split != "train" and not count["with_both"]:
                yield (
                    f"no {split} request has both a positive of head {head} and another candidate: metrics "
                    "of the logged candidates say nothing; rank the catalogue (evaluation.candidates), or "
                    "log what was shown without an engagement (schema.events.impressions)"
                )

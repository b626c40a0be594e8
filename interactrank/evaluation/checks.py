"""Can an evaluation say anything? Requests without a positive, and requests with nothing else.

A request whose candidates are all relevant is ranked perfectly by any order. A split of such requests would
give every model 1.000, so that its metrics are not reported.

Shapes: R requests, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.core.extras import require
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.settings import EvaluationSettings

__all__ = ["check_evaluable", "check_requests", "describe_meaningless", "head_index"]


def describe_meaningless(frame: Mapping[str, NDArray[Any]], split: str, head: str) -> str | None:
    """Return the line that tells why metrics say nothing, or less than they seem to; None if they are sound.

    Args:
        frame: of :func:`~interactrank.evaluation.evaluator.evaluate`.
        split: that was evaluated.
        head: whose positives are relevant.

    Example::

        >>> describe_meaningless({"relevant": np.array([0]), "auc_pairs": np.array([0])}, "test", "click")
        'no test request has a positive of head click: there is nothing to rank'
    """
    ranked, sound = int((frame["relevant"] > 0).sum()), int((frame["auc_pairs"] > 0).sum())
    return _describe(ranked, sound, split, head)


def check_evaluable(dataset: PreparedDataset, settings: EvaluationSettings) -> str | None:
    """Look before a training whether the evaluation after it can say anything.

    Args:
        dataset: the prepared dataset.
        settings: the split, the candidates and the head.

    Returns:
        The line that tells why metrics will say nothing; None if they can. What is left out of a request
        because its user has engaged with it before is not looked at here.

    Raises:
        DatasetError: the split has no requests, or there is no such head.
    """
    names, head = dataset.schema.head_names, head_index(dataset, settings)
    check_requests(dataset, settings)
    ranked = 0
    for file in dataset.files(settings.split):
        table = require("pyarrow.parquet", extra="data").read_table(file, columns=["candidates", "labels"])
        lengths = from_arrow(table["candidates"]).lengths
        labels = from_arrow(table["labels"]).values.reshape(-1, len(names))[:, head]
        request = np.repeat(np.arange(len(lengths)), lengths)
        positives = np.bincount(request[labels > 0], minlength=len(lengths))
        others = (len(dataset.items) if settings.candidates == "catalogue" else lengths) - positives
        if ((positives > 0) & (others > 0)).any():
            return None
        ranked += int((positives > 0).sum())
    return _describe(ranked, 0, settings.split, names[head])


def check_requests(dataset: PreparedDataset, settings: EvaluationSettings) -> None:
    """Refuse a split without requests.

    Args:
        dataset: the prepared dataset.
        settings: the split.

    Raises:
        DatasetError: the split has no requests.
    """
    if dataset.num_requests(settings.split) == 0:
        raise DatasetError(
            f"the log has no {settings.split} requests to evaluate on; see prepare.split or evaluation.split"
        )


def head_index(dataset: PreparedDataset, settings: EvaluationSettings) -> int:
    """Return the position of the head that ranks.

    Args:
        dataset: names the heads.
        settings: names the head; the first one when left out.

    Raises:
        DatasetError: there is no head of that name.
    """
    names = dataset.schema.head_names
    if settings.head is None:
        return 0
    if settings.head not in names:
        raise DatasetError(f"evaluation.head: no head '{settings.head}'; the schema has {', '.join(names)}")
    return names.index(settings.head)


def _describe(ranked: int, sound: int, split: str, head: str) -> str | None:
    """Return the line for a number of requests with a positive, and of those with another candidate, too."""
    if ranked == 0:
        return f"no {split} request has a positive of head {head}: there is nothing to rank"
    if sound == 0:
        return (
            f"no {split} request has both a positive of head {head} and another candidate: "
            "any order would be perfect, so that no metric is reported"
        )
    if sound < ranked:
        return (
            f"{ranked - sound:,} of {ranked:,} {split} requests with a positive of head {head} have no other "
            "candidate: they count as perfect whatever the order"
        )
    return None

"""Ids outside of their table, found while a batch is made: FBGEMM would read other memory, or crash.

The check reads each id once on the CPU, in the thread that loads batches, so that no GPU waits for it.
"""

from __future__ import annotations

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from interactrank.data.source import LogError

__all__ = ["IdRangeError", "check_ids"]


class IdRangeError(LogError):
    """An id that its table does not have; names the feature, the table, the id and the rank."""


def check_ids(ids: NDArray[np.int64], limit: int, *, feature: str, table: str) -> None:
    """Refuses ids below 0 and from ``limit`` on.

    Args:
        ids: of one feature of a batch.
        limit: ids of the table are below it.
        feature: its name.
        table: its table's.

    Raises:
        IdRangeError: names the first such id.

    Example::

        >>> check_ids(np.array([0, 4, 2]), 5, feature="title", table="word")
    """
    # As unsigned numbers, negative ids are larger than all others.
    if not len(ids) or ids.view(np.uint64).max() < limit:
        return
    wrong = ids[(ids < 0) | (ids >= limit)]
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    raise IdRangeError(
        f"feature '{feature}' has id {wrong[0]} on rank {rank}, but table '{table}' has ids 0 to {limit - 1} "
        f"({len(wrong)} such ids in this batch); prepare the log again, and train on what that gives"
    )

"""Ids outside of their table and items outside of the catalogue, found while a batch is made.

FBGEMM would read other memory or crash, and NumPy counts a negative position from the end. The check reads
each id once on the CPU, in the thread that loads batches, so that no GPU waits for it.
"""

from __future__ import annotations

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from interactrank.cross_features.pair_index import Ints
from interactrank.data.errors import DatasetError

__all__ = ["IdRangeError", "check_ids", "check_items"]


class IdRangeError(DatasetError):
    """An id that its table, or an item that the catalogue, does not have; names the place and the rank."""


def check_ids(ids: NDArray[np.int64], limit: int, *, feature: str, table: str) -> None:
    """Refuse ids below 0 and from ``limit`` on.

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
    _check(ids, limit, f"feature '{feature}'", "id", f"table '{table}'")


def check_items(items: Ints, limit: int, *, column: str) -> None:
    """Refuse positions in the catalogue below 0 and from ``limit`` on.

    Args:
        items: of one column of a batch.
        limit: items of the catalogue.
        column: of the prepared requests.

    Raises:
        IdRangeError: names the first such position.

    Example::

        >>> check_items(np.array([0, 4, 2], np.int32), 5, column="candidates")
    """
    _check(items, limit, f"column '{column}'", "item", "the catalogue")


def _check(ids: Ints, limit: int, where: str, what: str, holder: str) -> None:
    # As unsigned numbers, negative ids are larger than all others.
    if not len(ids) or ids.view(f"u{ids.itemsize}").max() < limit:
        return
    wrong = ids[(ids < 0) | (ids >= limit)]
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    raise IdRangeError(
        f"{where} has {what} {wrong[0]} on rank {rank}, but {holder} has {what}s 0 to {limit - 1} "
        f"({len(wrong)} such {what}s in this batch); prepare the log again, and train on what that gives"
    )

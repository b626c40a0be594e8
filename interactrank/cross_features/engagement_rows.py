"""engagement_rows: what happened to candidates, under the keys of their requests."""

from __future__ import annotations

import numpy as np

from interactrank.cross_features.jagged import Jagged, row_of_each, take
from interactrank.cross_features.requests import EngagementRows, LoggedRequests

__all__ = ["engagement_rows"]


def engagement_rows(requests: LoggedRequests, keys: Jagged, engagement: str) -> EngagementRows:
    """Return a row for each engagement of a block and each key of its request.

    Args:
        requests: the block.
        keys: of each request.
        engagement: which one counts, at the moment when it happened.
    """
    at = np.flatnonzero(requests.engaged(engagement))
    of_each = take(keys, row_of_each(requests.items)[at])
    return EngagementRows(
        of_each.values.astype(np.int64),
        np.repeat(requests.items.values[at], of_each.lengths).astype(np.int32),
        np.repeat(requests.engaged_at(engagement)[at], of_each.lengths),
    )

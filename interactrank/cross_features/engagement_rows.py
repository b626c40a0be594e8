"""What happened to candidates, under the keys of their requests: engagements and impressions."""

from __future__ import annotations

import numpy as np

from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged, row_of_each, take
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.requests import EngagementRows, LoggedRequests

__all__ = ["engagement_rows", "impression_rows", "rows_of_values"]


def engagement_rows(requests: LoggedRequests, keys: Jagged, engagement: str) -> EngagementRows:
    """Return a row for each engagement of a block and each key of its request.

    Args:
        requests: the block.
        keys: of each request.
        engagement: which one counts, at the moment when it happened.
    """
    return _rows(
        requests, keys, np.flatnonzero(requests.engaged(engagement)), requests.engaged_at(engagement)
    )


def impression_rows(requests: LoggedRequests, keys: Jagged) -> EngagementRows:
    """Return a row for each impression of a block and each key of its request, at the request's time.

    A candidate is one impression, however often the log repeats it within the request.
    """
    time = np.repeat(requests.facts.time, requests.items.lengths)
    return _rows(requests, keys, np.flatnonzero(requests.shown()), time)


def rows_of_values(rows: EngagementRows, fields: ItemFields) -> EngagementRows:
    """Return a row for each field value of each row's item, which stands in the item's place."""
    values = fields.of(rows.item)
    return EngagementRows(
        np.repeat(rows.key, values.lengths), values.values, np.repeat(rows.time, values.lengths)
    )


def _rows(requests: LoggedRequests, keys: Jagged, at: Int64s, time: Int64s) -> EngagementRows:
    """Return the rows of the candidates ``at``; ``time`` [C] is of all candidates."""
    of_each = take(keys, row_of_each(requests.items)[at])
    return EngagementRows(
        of_each.values.astype(np.int64),
        np.repeat(requests.items.values[at], of_each.lengths).astype(np.int32),
        np.repeat(time[at], of_each.lengths),
    )

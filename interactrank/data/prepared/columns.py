"""Names of the files and columns of a prepared dataset.

A split has one row a request. In lists: c candidates, H heads, X cross features that are rates, Y that are
numbers, Z that are ratios, L events of the user sequence.

    request_id       string
    time             int64         milliseconds since 1970
    history_end      int64         milliseconds; the user sequence ends before it
    query, user      string        the query is normalised; user may be null
    train_frequency  int32         requests with this query in training
    segment.*        string        value of each segment column
    feature.*        [int64]       rows of ID tables of each sparse feature
    dense            [float32]     numbers, then vectors
    candidates       [int32]  c    rows of the catalogue
    labels           [float32] c*H
    weights          [float32] c
    position         [int32] c    where it was shown, 1 the top, 0 unknown; only if the log has it
    cross.rate       [float32] c*X
    cross.support    [float32] X
    cross.number     [float32] c*Y
    cross.counts     [float32] c*2*Z   engagements of each ratio, then impressions of each
    candidate.*      [float32] c  each candidate feature: its number, NaN if unknown, or the code of its id
    events.item      [int32]  L    rows of the catalogue, newest event first
    events.query     [int64]  L    row of the event's query in its ID table
    events.action    [int8]   L    position of the engagement in the schema's list
    events.age       [float32] L   hours before the request
    keys.*           [int64]       hashes, to look cross features of other items up
    true_probability [float32] c   only if the log has it
    excluded         [int32]       items that may not be drawn; only with exclude_repeats

``items.parquet`` has one row an item: ``id``, ``train_count``, ``feature.*`` and ``dense``.
"""

from __future__ import annotations

__all__ = [
    "CANDIDATES",
    "CROSS_COUNTS",
    "CROSS_NUMBER",
    "CROSS_RATE",
    "CROSS_SUPPORT",
    "DENSE",
    "EVENT_ACTION",
    "EVENT_AGE",
    "EVENT_ITEM",
    "EVENT_QUERY",
    "EXCLUDED",
    "HISTORY_END",
    "ITEMS_FILE",
    "ITEM_ID",
    "LABELS",
    "POSITION",
    "QUERY",
    "REQUEST_ID",
    "SPLITS",
    "TIME",
    "TRAIN_COUNT",
    "TRAIN_FREQUENCY",
    "TRUE_PROBABILITY",
    "USER",
    "WEIGHTS",
    "candidate_column",
    "columns_to_train",
    "feature_column",
    "keys_column",
    "segment_column",
]

SPLITS = ("train", "validation", "test")

REQUEST_ID = "request_id"
TIME = "time"
HISTORY_END = "history_end"
QUERY = "query"
USER = "user"
TRAIN_FREQUENCY = "train_frequency"
DENSE = "dense"
CANDIDATES = "candidates"
LABELS = "labels"
WEIGHTS = "weights"
POSITION = "position"
CROSS_RATE = "cross.rate"
CROSS_SUPPORT = "cross.support"
CROSS_NUMBER = "cross.number"
CROSS_COUNTS = "cross.counts"
EVENT_ITEM = "events.item"
EVENT_QUERY = "events.query"
EVENT_ACTION = "events.action"
EVENT_AGE = "events.age"
TRUE_PROBABILITY = "true_probability"
EXCLUDED = "excluded"

ITEMS_FILE = "items.parquet"
ITEM_ID = "id"
TRAIN_COUNT = "train_count"

_TO_TRAIN = (
    CANDIDATES,
    LABELS,
    WEIGHTS,
    POSITION,
    CROSS_RATE,
    CROSS_SUPPORT,
    CROSS_NUMBER,
    CROSS_COUNTS,
    DENSE,
)
_FOR_OTHER_ITEMS = (TIME, HISTORY_END, EXCLUDED, TRUE_PROBABILITY)


def feature_column(name: str) -> str:
    """Return the column of a sparse feature."""
    return f"feature.{name}"


def candidate_column(name: str) -> str:
    """Return the column of a candidate feature."""
    return f"candidate.{name}"


def segment_column(name: str) -> str:
    """Return the column of a segment."""
    return f"segment.{name}"


def keys_column(name: str) -> str:
    """Return the column of the keys of that name."""
    return f"keys.{name}"


def columns_to_train(names: list[str], *, for_other_items: bool) -> list[str]:
    """Return those of a split's columns that batches are made of.

    Args:
        names: all columns of the split.
        for_other_items: with what the cross features of items other than the candidates need.

    Example::

        >>> columns_to_train(["time", "labels", "user", "feature.word"], for_other_items=False)
        ['labels', 'feature.word']
    """
    wanted = [*_TO_TRAIN, *(_FOR_OTHER_ITEMS if for_other_items else ())]
    kinds = ("feature.", "events.", *(("keys.", "candidate.") if for_other_items else ()))
    return [n for n in names if n in wanted or n.startswith(kinds)]

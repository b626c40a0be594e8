"""User sequences that come with requests, or of several sources, next to those of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from interactrank.core.ids import id_text
from interactrank.core.settings import near
from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.text import normalize
from interactrank.data.prepared.user_sequences import UserSequences
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.schema import SearchSchema
from interactrank.serving.errors import RequestError

__all__ = ["SEQUENCE", "with_given_sequences"]

SEQUENCE = "sequence"
_KEYS = ("item", "engagement", "time", "query")


def with_given_sequences(
    requests: Sequence[Mapping[str, Any]],
    logged: Callable[[int], tuple[Any, ...] | None],
    schema: SearchSchema,
    item_rows: Callable[[Sequence[str]], Int64s],
    vocabulary: Vocabulary | None,
    read_time: Callable[[int, Any], int],
) -> tuple[UserSequences, Int64s]:
    """Return sequences with a row for each request: the given one, else that of its user.

    Args:
        requests: R of them.
        logged: number of a request -> time, item, query and action of its user's events; None without any.
        schema: what engagements there are.
        item_rows: item ids -> rows of the catalogue, -1 for unknown ones.
        vocabulary: of queries of events; None without them.
        read_time: (number of a request, time as given) -> milliseconds.

    Raises:
        RequestError: an event cannot be read; names the request and what is wrong.
    """
    blocks: list[tuple[Any, ...]] = []
    for n, request in enumerate(requests):
        if SEQUENCE in request:
            events = [_event(n, e, schema, read_time) for e in request[SEQUENCE] or ()]
            items = item_rows([item for item, *_ in events])
            known = [(t, i, q, a) for (_, a, t, q), i in zip(events, items.tolist(), strict=True) if i >= 0]
            known.sort(key=lambda event: event[0])
            queries = [0 if vocabulary is None else vocabulary.row(q) for _, _, q, _ in known]
            blocks.append(([e[0] for e in known], [e[1] for e in known], queries, [e[3] for e in known]))
        else:
            blocks.append(logged(n) or ((), (), (), ()))
    lengths = [len(block[0]) for block in blocks]
    kinds = (np.int64, np.int32, np.int64, np.int8)
    columns = [np.concatenate([np.asarray(b[k], kind) for b in blocks]) for k, kind in enumerate(kinds)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return UserSequences(offsets, *columns), np.arange(len(requests))


def _event(
    n: int, event: Mapping[str, Any], schema: SearchSchema, read_time: Callable[[int, Any], int]
) -> tuple[str, int, int, str | None]:
    """Return item, action, milliseconds and query of an event."""
    wrong = [key for key in event if key not in _KEYS]
    if wrong:
        raise RequestError(f"request {n}: an event has '{wrong[0]}'{near(wrong[0], _KEYS)}")
    for key in ("item", "engagement", "time"):
        if event.get(key) is None:
            raise RequestError(f"request {n}: an event of its sequence has no {key}")
    allowed = schema.sequence_engagements
    name = event["engagement"]
    if name not in allowed:
        raise RequestError(f"request {n}: an event has the engagement '{name}'{near(str(name), allowed)}")
    query = event.get("query")
    text = None if query is None else normalize(str(query))
    return id_text(event["item"]) or "", allowed.index(name), read_time(n, event["time"]), text

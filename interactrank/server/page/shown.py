"""Shown: one open version of an export, with what the page needs to show it.

Shapes: K results, L events of the user sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interactrank.cross_features import match_of_words
from interactrank.data.prepared.columns import EVENT_ACTION, EVENT_AGE, EVENT_ITEM, EVENT_QUERY
from interactrank.data.prepared.users import Users
from interactrank.server.page.fields import fields_of, read_fields, vocabulary_of
from interactrank.server.page.inputs import Search
from interactrank.server.page.parts import parts_of
from interactrank.serving import PreRanker
from interactrank.serving.browse import Browse
from interactrank.serving.live_requests import Live
from interactrank.serving.live_sequences import SEQUENCE

__all__ = ["Shown"]

MOST_SUGGESTIONS = 12
HOUR = 3_600_000


class Shown:
    """A pre-ranker and the files by which people read what it says.

    Args:
        ranker: opened.
    """

    def __init__(self, ranker: PreRanker) -> None:
        self.ranker, self.schema = ranker, ranker.schema
        self.browse = Browse(ranker.version.folder).open()
        self.fields = fields_of(ranker, self.browse)
        self.parts = parts_of(ranker.cross.features, ranker.model.score_head.reads)
        self.users = Users(ranker.version.folder).open()
        self.match = match_of_words(self.schema)
        query = None if self.schema.sequence is None else self.schema.sequence.query
        table = None if query is None else self.schema.feature(query).table
        self.event_queries = None if table is None else vocabulary_of(ranker.version, table)

    @property
    def title(self) -> str | None:
        """The column of the items file that names an item: the first whose text is read."""
        texts = [] if self.match is None else [*self.match.columns]
        texts += [f.column for f in self.schema.features.item if f.kind in ("words", "trigrams")]
        return next((c for c in texts if c in self.browse.columns), None)

    def request(self, search: Search) -> dict[str, Any]:
        """Return a search as a request to the pre-ranker.

        Raises:
            RequestError: a field of the form cannot be read.
        """
        e = self.schema.events
        request: dict[str, Any] = {e.query: search.query, e.time: search.time}
        request |= read_fields(self.schema, self.fields, search.fields)
        if e.user is not None:
            request[e.user] = search.user or None
        if search.clicks and self.schema.sequence is not None:
            # What is tried comes after what has happened, which the model reads without it.
            request[SEQUENCE] = self._happened(request) + [c.model_dump() for c in search.clicks]
        return request

    def sequence(self, live: Live) -> list[dict[str, Any]]:
        """Return the user sequence of a request as the model reads it, newest event first."""
        if self.schema.sequence is None:
            return []
        rows, action, age, query = (
            live.requests.jagged(c).values for c in (EVENT_ITEM, EVENT_ACTION, EVENT_AGE, EVENT_QUERY)
        )
        names = self.schema.sequence_engagements
        return [
            {
                **item,
                "engagement": names[int(action[n])],
                "hours": float(age[n]),
                "query": self._query(int(query[n])),
            }
            for n, item in enumerate(self.items(rows.astype(np.int64)))
        ]

    def items(self, rows: Any) -> list[dict[str, Any]]:
        """Return id, title and other columns of some rows of the catalogue."""
        found = []
        for name, columns in zip(self.ranker.ids.of(rows), self.browse.items(rows), strict=True):
            title = columns.get(self.title) if self.title is not None else None
            more = {c: _plain(v) for c, v in columns.items() if c != self.title and v is not None}
            found.append({"id": name, "title": None if title is None else str(title), "columns": more})
        return found

    def suggest(self, of: list[tuple[str, int]], typed: str) -> list[dict[str, Any]]:
        """Return what begins with the text, then what has a word that does, each with its count."""
        text = " ".join(typed.lower().split())
        first: list[tuple[str, int]] = []
        other: list[tuple[str, int]] = []
        for value, count in of:
            folded = value.lower()
            if folded.startswith(text):
                first.append((value, count))
                if len(first) == MOST_SUGGESTIONS:
                    break
            elif len(other) < MOST_SUGGESTIONS and f" {text}" in folded:
                other.append((value, count))
        return [{"value": v, "count": n} for v, n in [*first, *other][:MOST_SUGGESTIONS]]

    def _happened(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the user sequence of a request as one that comes with it, oldest event first."""
        now = request[self.schema.events.time]
        events = [
            {
                "item": event["id"],
                "engagement": event["engagement"],
                "time": now - round(event["hours"] * HOUR),
                "query": event["query"],
            }
            for event in self.sequence(self.ranker.read(request))
        ]
        return events[::-1]

    def _query(self, row: int) -> str | None:
        """Return the query of an event; None where its text is not kept, as of a table of hashes."""
        values = [] if self.event_queries is None else self.event_queries.values
        return values[row - 1] if 0 < row <= len(values) else None


def _plain(value: Any) -> Any:
    """Return a value in JSON's types; a float32 with the digits that it has.

    Example::

        >>> _plain(26.450000762939453), _plain(["a", None]), _plain(5.0)
        (26.45, ['a', None], 5)
    """
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        short = float(f"{value:.6g}")
        return None if not np.isfinite(value) else int(short) if short.is_integer() else short
    return [_plain(v) for v in value] if isinstance(value, list) else str(value)

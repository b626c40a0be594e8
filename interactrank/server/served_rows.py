"""The rows of the request log: columns of the log's events file, and the features that a ranking used.

==================  ======================  =========================================================
Column              Type                    Holds
==================  ======================  =========================================================
of the events file  as the schema reads it  what ``prepare`` reads; no engagement, in rows that were served
served_model        string                  name of the model; null in rows that came back as events
served_version      string                  version of the export
served_score        float                   of the item
served_degraded     bool                    whether cross features were left out
served_given        bool                    whether the request brought a sequence or user columns of its own
served_features     map of float            cross feature -> its number, NaN if it is not known
served_support      map of float            cross feature -> the count that it rests on
==================  ======================  =========================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from interactrank.core.ids import id_text
from interactrank.data.extras import pa
from interactrank.data.raw.staged_columns import event_columns
from interactrank.schema import SearchSchema
from interactrank.server.answers import milliseconds
from interactrank.serving.live_sequences import SEQUENCE
from interactrank.serving.ranking import Ranking

__all__ = ["SERVED", "LogColumns"]

_UNIT_PER_MS = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000, None: 1}
SERVED = {
    "served_model": pa.string(),
    "served_version": pa.string(),
    "served_score": pa.float32(),
    "served_degraded": pa.bool_(),
    "served_given": pa.bool_(),
    "served_features": pa.map_(pa.string(), pa.float32()),
    "served_support": pa.map_(pa.string(), pa.float32()),
}


class LogColumns:
    """Makes rows of one type, whatever comes.

    Args:
        schema: of the export.
    """

    def __init__(self, schema: SearchSchema) -> None:
        self.schema = schema
        e = schema.events
        self._per_ms = _UNIT_PER_MS[e.time_unit]
        types: dict[str, Any] = {e.query: pa.string(), e.item: pa.string(), e.time: pa.int64()}
        types |= {name: pa.string() for name in (e.user, e.request, e.session, e.split) if name}
        types |= {name: pa.int64() for name in (e.event_time,) if name}
        types |= {name: pa.float64() for name in (e.position, e.true_probability) if name}
        counts = [*e.engagements.values(), *([e.impression_column] if e.impression_column else [])]
        types |= dict.fromkeys(counts, pa.int32())
        for f in schema.features.candidate:
            types.setdefault(f.column, pa.float64() if f.kind == "number" else pa.string())
        for name in event_columns(schema):
            types.setdefault(name, _type(schema, name))
        self.types = pa.schema(list((types | SERVED).items()))
        self._nothing = dict.fromkeys(types | SERVED) | dict.fromkeys(counts, 0)

    def served(
        self,
        request: Mapping[str, Any],
        request_id: str,
        found: Ranking,
        facts: Mapping[str, Any],
        given: Mapping[str, Mapping[str, Any]],
        shown: int,
    ) -> list[dict[str, Any]]:
        """Return a row for each result that was shown; those of a degraded ranking have no features.

        Args:
            request: its columns, with the time for which it was ranked.
            request_id: under which engagements come back.
            found: its ranking.
            facts: ``model`` and ``version``.
            given: candidate feature -> item -> its value.
            shown: results that count as shown.
        """
        e = self.schema.events
        own = {name: value for name, value in request.items() if name in self._nothing}
        own |= {e.time: self._time(request[e.time])}
        for name, value in {e.request: request_id, e.split: "train", e.impression_column: 1}.items():
            if name:
                own[name] = value
        brought = {SEQUENCE, *(f.column for f in self.schema.features.request if f.file == "users")}
        more = {
            "served_model": facts["model"],
            "served_version": facts["version"],
            "served_degraded": found.degraded,
            "served_given": any(request.get(name) is not None for name in brought),
        }
        rows = []
        for n, item in enumerate(found.ids[:shown]):
            row = self._nothing | own | more | {e.item: item, "served_score": float(found.scores[n])}
            if found.explanations is not None:
                why = found.explanations[n]
                row |= {"served_features": list(why.raw.items()), "served_support": list(why.support.items())}
            if e.position:
                row[e.position] = n + 1
            for f in self.schema.features.candidate:
                row[f.column] = given.get(f.name, {}).get(item)
            rows.append(row)
        return rows

    def came_back(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return events as rows."""
        e = self.schema.events
        rows = []
        for event in events:
            row: dict[str, Any] = self._nothing | {
                name: value for name, value in event.items() if name in self._nothing
            }
            for name in (e.time, e.event_time):
                moment = row[name] if name else None
                if name and moment is not None:
                    row[name] = self._time(moment)
            if e.split:
                row[e.split] = "train"
            rows.append(row)
        return rows

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Return rows as a batch of :attr:`types`."""
        columns = []
        for of in self.types:
            values = [row[of.name] for row in rows]
            if pa.types.is_string(of.type):
                values = [id_text(v) for v in values]
            elif pa.types.is_list(of.type) and pa.types.is_string(of.type.value_type):
                lists = [v if v is None or isinstance(v, list) else [v] for v in values]
                values = [None if v is None else [id_text(x) for x in v] for v in lists]
            elif pa.types.is_float64(of.type):
                values = [None if v is None else float(v) for v in values]
            columns.append(pa.array(values, of.type))
        return pa.RecordBatch.from_arrays(columns, schema=self.types)

    def _time(self, value: int | datetime) -> int:
        return int(milliseconds(value) * self._per_ms)


def _type(schema: SearchSchema, name: str) -> Any:
    """Return the type of a column of requests."""
    kinds = {f.kind: f for f in schema.features.request if f.column == name and f.file != "users"}
    if "vector" in kinds:
        return pa.list_(pa.float32())
    return pa.float64() if "number" in kinds else pa.string()

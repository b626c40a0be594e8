"""Delta: what was recorded since the export, and the histories of the export with it.

One thread at a time adds rows; any number of threads read. What they read is a :class:`Histories`, which
never changes: a row counts in all features of a request, or in none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from interactrank.cross_features import CountStore, CrossFeature, CrossFeatures, EngagementRows
from interactrank.cross_features.text import hash63
from interactrank.data.prepare.features import staged_values, table_rows
from interactrank.data.prepare.raw_requests import RawRequests
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.staged_columns import request_column
from interactrank.schema import SearchSchema
from interactrank.serving.fresh.counts import FreshCounts
from interactrank.serving.fresh.new_events import NewEvents
from interactrank.serving.fresh.recorded import Recorded
from interactrank.serving.fresh.rows import NEVER, EventRows
from interactrank.serving.fresh.runs import Runs, added, bytes_of, difference, due, merged, removed
from interactrank.serving.fresh.sequences import FreshSequences, UserEvents

__all__ = ["Delta", "Histories", "Merge"]

NONE = EngagementRows(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Histories:
    """What the features of a request are looked up in.

    Args:
        cross: over the stores.
        sequences: of the users; None if the schema has none.
        last: milliseconds of the last event that was recorded; -1 for none.
        nbytes: of what was recorded.
    """

    cross: CrossFeatures
    sequences: FreshSequences | None = None
    last: int = -1
    nbytes: int = 0


class Merge(NamedTuple):
    """Two neighbouring runs of a store, or (None) of the sequences, and what makes one of them."""

    store: str | None
    one: Any
    other: Any
    run: Callable[[], Any]

    def replaced(self, runs: tuple[Any, ...], run: Any) -> tuple[Any, ...]:
        """Return the runs with ``run`` in the place of the two, if both are there."""
        for n in range(len(runs) - 1):
            if runs[n] is self.one and runs[n + 1] is self.other:
                return (*runs[:n], run, *runs[n + 2 :])
        return runs


class Delta:
    """Adds rows to the histories of an export.

    Args:
        schema: what the columns mean.
        cross: over the stores of the export.
        users: of the export.
        vocabularies: of each ID table.
        event_time: milliseconds of the last request that the export has: earlier requests that rows belong
            to are in it, and so are their impressions.
    """

    def __init__(
        self,
        schema: SearchSchema,
        cross: CrossFeatures,
        users: Users,
        vocabularies: Mapping[str, Vocabulary],
        event_time: int = -1,
    ) -> None:
        self.schema, self.cross, self.users = schema, cross, users
        self._counting = _counting(cross)
        self._runs: dict[str, Runs] = dict.fromkeys(self._counting, ())
        self._recorded = Recorded(schema, users, cross.fields or {}, event_time)
        s = schema.sequence
        self._query = None if s is None or s.query is None else schema.feature(s.query)
        self._vocabulary = None if self._query is None else vocabularies[str(self._query.table)]
        base = users.sequences
        self.histories = Histories(cross, None if base is None else FreshSequences(base))

    def add(self, rows: EventRows) -> None:
        """Make rows count; readers see all of them or none."""
        old, new = self._recorded.add(rows)
        if not len(new):
            return
        sequences, of_sequences = self._sequences(old, new)
        for name, feature in self._counting.items():
            counted = _counted(feature, name, new)
            gone = NONE if old is None else _counted(feature, name, old)
            more, fewer = difference(counted, gone)
            for rows_more in (more, *of_sequences(feature)):
                self._runs[name] = added(self._runs[name], rows_more)
            if len(fewer.key):
                self._runs[name] = removed(self._runs[name], fewer)
        happened = [t for of in rows.happened for t in of if t < NEVER]
        last = max(self.histories.last, max(rows.time), max(happened, default=-1))
        self.histories = self._histories(sequences, last)

    def due(self) -> Merge | None:
        """Return which runs are to be merged; None if there is nothing to do."""
        for name, runs in self._runs.items():
            n = due([len(run.pair_times) for run in runs])
            if n is not None:
                return Merge(name, runs[n], runs[n + 1], partial(merged, runs[n], runs[n + 1]))
        sequences = self.histories.sequences
        if sequences is not None and (n := due([len(run.time) for run in sequences.runs])) is not None:
            return Merge(None, sequences.runs[n], sequences.runs[n + 1], partial(sequences.merged, n))
        return None

    def merge(self, what: Merge, run: Any) -> None:
        """Put a merged run in the place of two, unless one of them has changed meanwhile."""
        sequences, last = self.histories.sequences, self.histories.last
        if what.store is not None:
            self._runs[what.store] = what.replaced(self._runs[what.store], run)
        elif sequences is not None:
            sequences = FreshSequences(sequences.base, what.replaced(sequences.runs, run))
        self.histories = self._histories(sequences, last)

    def _histories(self, sequences: FreshSequences | None, last: int) -> Histories:
        stores = {
            name: FreshCounts(store, self._runs[name]) if self._runs.get(name) else store
            for name, store in self.cross.stores.items()
        }
        cross = CrossFeatures(
            self.cross.features,
            stores=stores,
            num_items=self.cross.num_items,
            fields=self.cross.fields,
            prior_items=self.cross.prior_items,
        )
        size = sum(map(bytes_of, self._runs.values())) + (0 if sequences is None else sequences.nbytes)
        return Histories(cross, sequences, last, size)

    def _sequences(
        self, old: RawRequests | None, new: RawRequests
    ) -> tuple[FreshSequences | None, Callable[[CrossFeature[Any]], Iterator[EngagementRows]]]:
        """Return the sequences with what changes, and what that adds to the store of a feature."""
        before = self.histories.sequences
        if before is None:
            return None, lambda feature: iter(())
        events, gone = Counter(self._events(new)), Counter(() if old is None else self._events(old))
        fresh = UserEvents.of(list((events - gone).elements()))
        lost = UserEvents.of(list((gone - events).elements()))
        after = before.added(fresh)
        if len(lost.user):
            after = after.removed(lost)
        users = [u for u in new.table["user"].to_pylist() if u is not None]
        rows = dict(zip(map(hash63, users), self.users.rows(users).tolist(), strict=True))
        assert self.schema.sequence is not None
        more = NewEvents(fresh, before, rows, self.schema.sequence.length)
        return after, lambda feature: iter(list(feature.sequence_rows(more)))

    def _events(self, block: RawRequests) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield (user, time, item, query, action) of what enters the user sequences.

        What happened at one moment to one item of a request is one event: the first engagement in the list.
        """
        users = block.table["user"].to_pylist()
        queries = np.zeros(len(block), np.int64)
        if self._query is not None and self._vocabulary is not None and len(block):
            name = request_column(self.schema, self._query.column, self._query.file)
            values = staged_values(block.table[name], name)
            queries = table_rows(self._query, values, self._vocabulary).values
        request, item = block.candidates["request"].to_numpy(), block.items.values
        seen: set[tuple[int, int, int]] = set()
        for action, name in enumerate(self.schema.sequence_engagements):
            times = block.engaged_at(name)
            for at in np.flatnonzero(block.engaged(name)).tolist():
                r = int(request[at])
                moment = (r, int(item[at]), int(times[at]))
                if users[r] is not None and moment not in seen:
                    seen.add(moment)
                    yield hash63(users[r]), moment[2], moment[1], int(queries[r]), action


def _counting(cross: CrossFeatures) -> dict[str, CrossFeature[Any]]:
    """Return the stores to which rows can be added, with a feature that says what they count."""
    found: dict[str, CrossFeature[Any]] = {}
    for feature in cross.features:
        for name in feature.stores:
            if isinstance(cross.stores[name], CountStore):
                found.setdefault(name, feature)
    return found


def _counted(feature: CrossFeature[Any], store: str, block: RawRequests) -> EngagementRows:
    return feature.rows_of(store, block) or NONE

"""SearchLoader: prepared requests as batches, in an order fixed by seed, rank and epoch.

An epoch is one order of all requests: row groups shuffled, then requests shuffled among neighbouring
groups. Each rank takes a contiguous share of that order and cuts it into the same number of batches, so
that all ranks end together, no request is left out and none comes twice, however the files are cut.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from interactrank.batch import SearchBatch
from interactrank.data.collate import Requests, collate
from interactrank.data.negatives import NegativeSampler
from interactrank.data.prepared import PreparedLog
from interactrank.data.settings import LoaderSettings
from interactrank.data.source import LogError, first_line
from interactrank.extras import require


class _Group(NamedTuple):
    file: int
    group: int
    first: int
    rows: int


class SearchLoader:
    """Batches of a split.

    Args:
        log: the prepared log.
        split: ``train``, ``validation`` or ``test``.
        settings: batch size, negatives, shuffling, seed.
        rank, world_size: which share of the requests this process reads.
        shuffle: whether epochs differ in their order; off, requests come in order of time.

    Raises:
        LogError: the split has fewer requests than there are ranks, or a file is damaged.
    """

    def __init__(
        self,
        log: PreparedLog,
        split: str,
        settings: LoaderSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        self.log, self.split, self.settings, self.shuffle = log, split, settings, shuffle
        self.rank, self.world_size = rank, world_size
        self._layout = log.layout
        pq = require("pyarrow.parquet", extra="data")
        self._files = []
        self._groups: list[_Group] = []
        first = 0
        for n, path in enumerate(log.files(split)):
            try:
                file = pq.ParquetFile(path, memory_map=True)
            except Exception as error:
                raise LogError(f"cannot read '{path}': {first_line(error)}; prepare the log again") from None
            self._files.append(file)
            for g in range(file.num_row_groups):
                rows = file.metadata.row_group(g).num_rows
                self._groups.append(_Group(n, g, first, rows))
                first += rows
        self.num_requests = first
        if first < world_size:
            raise LogError(
                f"split '{split}' has {first} requests, fewer than the {world_size} ranks; "
                "use fewer ranks or another split"
            )
        self._sampler = None
        if settings.negatives:
            self._sampler = NegativeSampler(
                train_count=log.items.train_count,
                count=settings.negatives,
                power=settings.negative_power,
                cross=log.cross,
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the same on every rank."""
        largest = -(-self.num_requests // self.world_size)
        smallest = self.num_requests // self.world_size
        return min(smallest, -(-largest // self.settings.batch_requests))  # so that no batch is empty

    def epoch(self, n: int = 0, start: int = 0) -> Iterator[SearchBatch]:
        """Batches ``start``, ``start + 1``, ... of epoch ``n``; none from ``steps_per_epoch`` on."""
        batches = self._batches(n, start)
        return _ahead(batches, self.settings.prefetch) if self.settings.prefetch else batches

    def requests(self) -> Iterator[Requests]:
        """The requests of the epoch 0 batches, with all that cross features of other items need."""
        for _, requests in self._requests(0, 0, self._columns(everything=True)):
            yield requests

    def _batches(self, epoch: int, start: int) -> Iterator[SearchBatch]:
        for step, requests in self._requests(
            epoch, start, self._columns(everything=self._sampler is not None)
        ):
            candidates = requests.candidates()
            if self._sampler is not None:
                seed = (self.settings.seed, self.rank, epoch, step)
                candidates = self._sampler.add(requests, candidates, seed)
            yield collate(requests, candidates, self.log.items)

    def _requests(self, epoch: int, start: int, columns: list[str]) -> Iterator[tuple[int, Requests]]:
        """(step, its requests) from step ``start`` on."""
        pa = require("pyarrow", extra="data")
        low = self.num_requests * self.rank // self.world_size
        high = self.num_requests * (self.rank + 1) // self.world_size
        steps = self.steps_per_epoch
        if start >= steps:
            return
        cuts = [low + (high - low) * s // steps for s in range(steps + 1)]
        held: Any = None  # read but not yet handed out: table and index
        step, position = start, 0
        for window in self._windows(epoch):
            size = sum(g.rows for g in window)
            if position + size <= cuts[step]:
                position += size
                continue
            table = pa.concat_tables([self._read(g, columns) for g in window])
            index = np.concatenate([np.arange(g.first, g.first + g.rows) for g in window])
            order = self._order(epoch, position, size)
            skip = max(0, cuts[step] - position) if held is None else 0
            table, index = table.take(order[skip:]), index[order[skip:]]
            if held is not None:
                table, index = pa.concat_tables([held[0], table]), np.concatenate([held[1], index])
            position += size
            while step < steps and cuts[step + 1] <= position:
                rows = cuts[step + 1] - cuts[step]
                yield step, Requests(table.slice(0, rows), index[:rows], self._layout, self.log.items)
                table, index = table.slice(rows), index[rows:]
                step += 1
            if step == steps:
                return
            held = (table, index)

    def _windows(self, epoch: int) -> Iterator[list[_Group]]:
        groups = self._groups
        size = 1
        if self.shuffle:
            random = np.random.default_rng((self.settings.seed, epoch))
            groups = [groups[i] for i in random.permutation(len(groups))]
            size = self.settings.shuffle_groups
        for first in range(0, len(groups), size):
            yield groups[first : first + size]

    def _order(self, epoch: int, position: int, size: int) -> Any:
        if not self.shuffle:
            return np.arange(size)
        return np.random.default_rng((self.settings.seed, epoch, position)).permutation(size)

    def _read(self, group: _Group, columns: list[str]) -> Any:
        try:
            return self._files[group.file].read_row_group(group.group, columns=columns)
        except Exception as error:
            path = self.log.files(self.split)[group.file]
            raise LogError(f"cannot read '{path}': {first_line(error)}; prepare the log again") from None

    def _columns(self, everything: bool) -> list[str]:
        """Columns to read; ``everything`` includes what cross features of other items need."""
        names: list[str] = self._files[0].schema_arrow.names
        wanted = {"candidates", "labels", "weights", "iqp_rate", "iqp_support", "lexical", "dense"}
        kinds: tuple[str, ...] = ("feature.", "events.")
        if everything:
            wanted |= {"time", "history_end", "excluded", "true_probability"}
            kinds += ("keys.", "parts.")
        return [n for n in names if n in wanted or n.startswith(kinds)]


def _ahead(batches: Iterator[SearchBatch], depth: int) -> Iterator[SearchBatch]:
    """The same batches, made by a thread up to ``depth`` ahead; its errors are raised here."""
    ready: queue.Queue[SearchBatch | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(value: SearchBatch | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(value, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=work, name="interactrank-loader", daemon=True)
    thread.start()
    try:
        while (value := ready.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()  # the files are free for the next epoch

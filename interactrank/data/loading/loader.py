"""SearchLoader: prepared requests as batches, in an order fixed by seed, rank and epoch.

An epoch is one order of all requests: row groups shuffled, then requests shuffled among neighbouring
groups. Each rank takes a contiguous share of that order and cuts it into the same number of batches, so
that all ranks end together, no request is left out and none comes twice, however the files are cut. The rest
of an epoch can be repartitioned for another number of ranks (:mod:`interactrank.core.epoch_partition`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from interactrank.batch import SearchBatch
from interactrank.core.epoch_partition import EpochPartition, Ranges
from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa, pq
from interactrank.data.loading.collate import collate
from interactrank.data.loading.negatives import NegativeSampler
from interactrank.data.loading.prefetch import prefetch
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.columns import TIME, columns_to_train
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.raw.sql import first_line
from interactrank.data.settings import LoaderSettings, parse_moment


class _Group(NamedTuple):
    """A row group: its number in a file, its first request in the split, and its requests.

    Args:
        skip: leading rows of the group that are not read.
    """

    file: int
    group: int
    first: int
    rows: int
    skip: int = 0


class SearchLoader:
    """Batches of a split.

    Args:
        dataset: the prepared dataset.
        split: ``train``, ``validation`` or ``test``.
        settings: batch size, negatives, shuffling, seed.
        rank, world_size: which share of the requests this process reads.
        shuffle: whether epochs differ in their order; off, requests come in order of time.
        only: cross features that the model reads; the others are 0 in drawn negatives. None: all.
        epochs: of the training; in the last of several, all requests fit the towers (``projection_share``).

    Raises:
        DatasetError: the split has fewer requests than there are ranks, or a file is damaged.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        split: str,
        settings: LoaderSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        only: Collection[str] | None = None,
        epochs: int = 1,
    ) -> None:
        self.dataset, self.split, self.settings, self.shuffle = dataset, split, settings, shuffle
        self.rank, self.world_size, self.epochs = rank, world_size, epochs
        self._layout = dataset.layout
        self._files = []
        self._groups: list[_Group] = []
        first = 0
        for n, path in enumerate(dataset.files(split)):
            try:
                file = pq.ParquetFile(path, memory_map=True)
            except Exception as error:
                raise DatasetError(
                    f"cannot read '{path}': {first_line(error)}; prepare the log again"
                ) from None
            self._files.append(file)
            for g in range(file.num_row_groups):
                rows = file.metadata.row_group(g).num_rows
                self._groups.append(_Group(n, g, first, rows))
                first += rows
        if split == "train" and settings.since is not None:
            self._groups = list(self._since(parse_moment(settings.since)))
        self.num_requests = sum(g.rows for g in self._groups)
        if self.num_requests < world_size:
            since = f" since {settings.since}" if split == "train" and settings.since else ""
            raise DatasetError(
                f"split '{split}' has {self.num_requests} requests{since}, fewer than the {world_size} "
                "ranks; use fewer ranks or another split"
            )
        self._sampler = None
        if settings.negatives:
            self._sampler = NegativeSampler(
                train_count=dataset.items.train_count,
                count=settings.negatives,
                power=settings.negative_power,
                schema=dataset.schema,
                cross=dataset.cross,
                only=only,
            )

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches of an epoch, the same on every rank."""
        return self.partition().steps

    def partition(self, ranges: Ranges | None = None) -> EpochPartition:
        """Return how these ranks share the given ranges of an epoch's order; None for the whole epoch."""
        whole = ((0, self.num_requests),)
        return EpochPartition(
            whole if ranges is None else ranges, self.world_size, self.settings.batch_requests
        )

    def epoch(self, n: int = 0, start: int = 0, ranges: Ranges | None = None) -> Iterator[SearchBatch]:
        """Yield batches ``start``, ``start + 1``, ... of epoch ``n``; none from its last step on.

        Args:
            n: the epoch.
            start: batches to leave out.
            ranges: what other ranks left of the epoch (see :meth:`partition`); None for the whole of it.
        """
        batches = self._batches(n, start, ranges)
        return prefetch(batches, self.settings.prefetch) if self.settings.prefetch else batches

    def requests(self) -> Iterator[PreparedRequests]:
        """Yield the requests of the epoch 0 batches, with all that cross features of other items need."""
        for _, requests in self._requests(0, 0, None, self._columns(everything=True)):
            yield requests

    def _batches(self, epoch: int, start: int, ranges: Ranges | None) -> Iterator[SearchBatch]:
        columns = self._columns(everything=self._sampler is not None)
        for step, requests in self._requests(epoch, start, ranges, columns):
            candidates = requests.candidates()
            if self._sampler is not None:
                # What is left of an epoch has other requests at this step than the whole epoch has.
                rest = () if ranges is None else (ranges[0][0],)
                seed = (self.settings.seed, self.rank, epoch, step, *rest)
                candidates = self._sampler.add(requests, candidates, seed)
            yield collate(requests, candidates, self.dataset.items, self._fits_projection(requests, epoch))

    def _fits_projection(self, requests: PreparedRequests, epoch: int) -> Any:
        """Return [R] whether the projection is fitted on each request; requests are numbered by time."""
        share = self.settings.projection_share
        if not share or self.split != "train":
            return None
        first = self._groups[0].first + int((1 - share) * self.num_requests)
        refit = self.epochs > 1 and epoch >= self.epochs - 1
        return np.zeros(len(requests), bool) if refit else requests.index >= first

    def _requests(
        self, epoch: int, start: int, ranges: Ranges | None, columns: list[str]
    ) -> Iterator[tuple[int, PreparedRequests]]:
        """Yield (step, its requests) from step ``start`` on."""
        partition = self.partition(ranges)
        mine = partition.share(self.rank, start)
        held: Any = None  # read but not yet handed out: table and index
        step, position = start, 0
        for window in self._windows(epoch):
            size = sum(g.rows for g in window)
            pieces = _within(mine, position, position + size)
            if pieces:
                table = pa.concat_tables([self._read(g, columns) for g in window])
                index = np.concatenate([np.arange(g.first, g.first + g.rows) for g in window])
                order = self._order(epoch, position, size)
                order = np.concatenate([order[first:last] for first, last in pieces])
                table, index = table.take(order), index[order]
                if held is not None:
                    table, index = pa.concat_tables([held[0], table]), np.concatenate([held[1], index])
                while step < partition.steps and (rows := partition.size(self.rank, step)) <= len(index):
                    taken = table.slice(0, rows)
                    yield step, PreparedRequests(taken, index[:rows], self._layout, self.dataset.items)
                    table, index = table.slice(rows), index[rows:]
                    step += 1
                held = (table, index)
            if step >= partition.steps:
                return
            position += size

    def _since(self, moment: int) -> Iterator[_Group]:
        """Yield what the groups have from a moment on; requests lie in order of time."""
        for g in self._groups:
            time = self._read(g, [TIME])[TIME].to_numpy()
            skip = int(np.searchsorted(time, moment))
            if skip < g.rows:
                yield _Group(g.file, g.group, g.first + skip, g.rows - skip, skip)

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
            table = self._files[group.file].read_row_group(group.group, columns=columns)
            return table.slice(group.skip)
        except Exception as error:
            path = self.dataset.files(self.split)[group.file]
            raise DatasetError(f"cannot read '{path}': {first_line(error)}; prepare the log again") from None

    def _columns(self, everything: bool) -> list[str]:
        """Return the columns to read; ``everything`` includes what cross features of other items need."""
        return columns_to_train(self._files[0].schema_arrow.names, for_other_items=everything)


def _within(ranges: Ranges, first: int, last: int) -> Ranges:
    """Return the positions from ``first`` up to ``last``, counted from ``first``."""
    return tuple((max(a, first) - first, min(b, last) - first) for a, b in ranges if a < last and b > first)

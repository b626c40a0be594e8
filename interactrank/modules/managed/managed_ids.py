"""ManagedIds: the mapping from ids to the rows of a table that changes as training goes.

It is a ManagedCollisionModule of TorchRec, which looks it up, shards and saves it. Its state is in buffers as
long as the table: so a checkpoint holds all of it, also what was met since the last change of rows. Every
bucket is a table of its own, so that any number of ranks that divides the buckets gives the same rows.

Shapes: N ids, U distinct ids, S rows of a bucket, M rows of this part of the table.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchrec.modules.mc_modules import ManagedCollisionModule
from torchrec.sparse.jagged_tensor import JaggedTensor

from interactrank.core.managed_ids import ID_LIMIT
from interactrank.modules.managed.eviction import Eviction
from interactrank.modules.managed.notes import merge_notes

STATE_BYTES = 7 * 8  # of a row: the int64 buffers of ManagedIds that are as long as the table


class ManagedIds(ManagedCollisionModule):
    """Maps ids in 1 .. 2^62 - 1 to the rows of a table; id 0 stands for a missing value.

    An id belongs to the bucket of its share of all ids. The last row of a bucket is that of all values of the
    bucket without a row of their own; every other row belongs to at most one value. Every ``interval``
    training steps the values of a bucket that were met, those with a row and those without, are compared by
    the policy (at a tie: who has a row, then the smaller id), and the best get the rows. Between two changes
    a bucket takes S notes of values without a row, one for each step and value; when there are more, it keeps
    the better S / 2 values by the policy. Outside of training nothing is counted and nothing changes.

    Args:
        rows: of the whole table, a multiple of the buckets.
        eviction: policy, interval and buckets.
        device: of the state.
        part: first and last + 1 row of the table that this module has; the whole table when left out.

    Attributes:
        statistics: [4] int64 since they were last set to 0: look-ups in training, those whose value had a row
            of its own, values that lost their row, values that got one.

    Example::

        >>> managed = ManagedIds(rows=4, eviction=Eviction(interval=1, buckets=1), device=torch.device("cpu"))
        >>> ids = JaggedTensor(values=torch.tensor([70, 50, 70, 0]), lengths=torch.tensor([4]))
        >>> managed({"table": ids})["table"].values().tolist()
        [0, 1, 0, 3]
    """

    def __init__(
        self, *, rows: int, eviction: Eviction, device: torch.device, part: tuple[int, int] | None = None
    ) -> None:
        if problems := eviction.problems(rows):
            raise ValueError("; ".join(problems))
        size = rows // eviction.buckets
        super().__init__(device=device, output_segments=list(range(0, rows + 1, size)))
        self.total_rows, self.eviction, self.bucket_rows = rows, eviction, size
        self.part = part or (0, rows)
        self._width = -(-ID_LIMIT // eviction.buckets)  # ids of a bucket
        self._first_bucket = self.part[0] // size
        self._buckets = (self.part[1] - self.part[0]) // size  # of this part
        self._step: int | None = None
        self._changed: list[Tensor] = []
        held = self.part[1] - self.part[0]

        def zeros() -> Tensor:
            return torch.zeros(held, dtype=torch.int64, device=device)

        row = torch.arange(*self.part, dtype=torch.int64, device=device)
        # The table in order of the ids; rows without a value stand behind the others of their bucket.
        self.register_buffer("ids", self._last_id(row))
        self.register_buffer("row", row)
        self.register_buffer("count", zeros())
        self.register_buffer("seen", zeros())  # step at which the value came last
        # Values without a row that were met since the last change; each bucket's one behind the other.
        self.register_buffer("new_ids", zeros())
        self.register_buffer("new_count", zeros())
        self.register_buffer("new_seen", zeros())
        self.register_buffer(
            "_used", torch.zeros(self._buckets, dtype=torch.int64, device=device), persistent=False
        )
        self.register_buffer("statistics", torch.zeros(4, dtype=torch.int64, device=device), persistent=False)

    def forward(
        self, features: dict[str, JaggedTensor], mutate_miss_lengths: bool = True
    ) -> dict[str, JaggedTensor]:
        """Count the ids (in training), then map them to rows."""
        return self.remap(self.profile(features))

    def preprocess(self, features: dict[str, JaggedTensor]) -> dict[str, JaggedTensor]:
        """Return the features as they are: ids are hashed before."""
        return features

    @torch.no_grad()
    def profile(self, features: dict[str, JaggedTensor]) -> dict[str, JaggedTensor]:
        """Count the ids of a training step; every ``interval`` steps rows change their values."""
        if not self.training:
            return features
        if self._step is None:
            self._step = int(self._current_iter_tensor)
        self._step += 1
        self._current_iter_tensor.add_(1)
        values = torch.cat([ids.values() for ids in features.values()])
        ids, counts = torch.unique(values[values > 0], return_counts=True)
        at, known = self._find(ids)
        mine = at[known]
        self.count[mine] += counts[known]
        self.seen[mine] = self._step
        self._remember(ids[~known], counts[~known])
        if self._step % self.eviction.interval == 0:
            self._change_rows()
        return features

    @torch.no_grad()
    def remap(
        self,
        features: dict[str, JaggedTensor],
        mutate_miss_lengths: bool = True,
        write_weights: Tensor | None = None,
    ) -> dict[str, JaggedTensor]:
        """Return the rows of the ids, numbered over the whole table."""
        result = {}
        for name, ids in features.items():
            values = ids.values()
            at, known = self._find(values)
            others = (values // self._width + 1) * self.bucket_rows - 1
            if self.training:
                self.statistics[0] += values.numel()
                self.statistics[1] += known.sum()
            result[name] = JaggedTensor(
                values=torch.where(known, self.row[at], others),
                lengths=ids.lengths(),
                weights=ids.weights_or_none(),
            )
        return result

    def evict(self) -> Tensor | None:
        """Return the rows that got another value since the last call; what they held is to be forgotten."""
        if not self._changed:
            return None
        changed, self._changed = torch.cat(self._changed).unique(), []
        return changed

    def rows_of_others(self, rows: Tensor) -> Tensor:
        """Return, for each row, the row that its bucket's values without a row of their own share."""
        return (rows // self.bucket_rows + 1) * self.bucket_rows - 1

    def output_size(self) -> int:
        """Return the rows of this part."""
        return self.part[1] - self.part[0]

    def input_size(self) -> int:
        """Return the bound that all ids are below."""
        return ID_LIMIT

    def buckets(self) -> int:
        """Return the buckets of the whole table."""
        return self.eviction.buckets

    def open_slots(self) -> Tensor:
        """Return [1] rows without a value, not counting the shared row of each bucket."""
        return (self.count == 0).sum().view(1) - self._buckets

    def validate_state(self) -> None:
        """Derive again what follows from the buffers; TorchRec calls it after loading.

        Raises:
            ValueError: the state is of a table with other buckets, to which its ids belonged.
        """
        found = int((self._output_segments_tensor >= 0).sum()) - 1
        if found != self.eviction.buckets:
            raise ValueError(
                f"the state is of a managed table with {found} buckets, and this one has "
                f"{self.eviction.buckets}; keep the buckets that it was trained with"
            )
        self._step = None
        self._used.copy_((self.new_count > 0).view(self._buckets, -1).sum(1))

    def rebuild_with_output_id_range(
        self,
        output_id_range: tuple[int, int],
        output_segments: list[int],
        device: torch.device | None = None,
    ) -> ManagedIds:
        """Return a new module for the rows of one rank.

        Raises:
            ValueError: the rows are not whole buckets.
        """
        if any(row % self.bucket_rows for row in output_id_range):
            raise ValueError(
                f"rows {output_id_range[0]} to {output_id_range[1]} are not whole buckets of "
                f"{self.bucket_rows} rows; the number of ranks must divide the "
                f"{self.eviction.buckets} buckets"
            )
        return ManagedIds(
            rows=self.total_rows,
            eviction=self.eviction,
            device=device or self.device,
            part=output_id_range,
        )

    @property
    def _now(self) -> int:
        return self._step or 0

    def _find(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return [N] place of each id in the table, and whether it is there."""
        at = torch.searchsorted(self.ids, ids).clamp_(max=len(self.ids) - 1)
        return at, (self.ids[at] == ids) & (self.count[at] > 0)

    def _bucket(self, ids: Tensor) -> Tensor:
        return ids // self._width - self._first_bucket

    def _last_id(self, rows: Tensor) -> Tensor:
        """Return the largest id of the rows' buckets."""
        return (rows // self.bucket_rows + 1) * self._width - 1

    def _remember(self, ids: Tensor, counts: Tensor) -> None:
        """Note ids without a row, each there once and in order."""
        seen = torch.full_like(ids, self._now)
        bucket = self._bucket(ids)
        more = torch.bincount(bucket, minlength=self._buckets)
        full = self._used + more > self.bucket_rows
        if bool(full.any()):
            # Full buckets, and no others (whatever the ranks), keep the better half of what they know.
            again = full.repeat_interleave(self.bucket_rows) & (self.new_count > 0)
            late = full[bucket]
            best = merge_notes(
                torch.cat([self.new_ids[again], ids[late]]),
                torch.cat([self.new_count[again], counts[late]]),
                torch.cat([self.new_seen[again], seen[late]]),
            )
            order, place = self._ranked(best[0], self.eviction.score(*best[1:], step=self._now))
            kept = order[place < self.bucket_rows // 2]
            self._forget(full)
            self._note(*(of[kept] for of in best))
            ids, counts, seen = ids[~late], counts[~late], seen[~late]
        self._note(ids, counts, seen)

    def _note(self, ids: Tensor, counts: Tensor, seen: Tensor) -> None:
        """Write ids, in order of their buckets, behind what the buckets have noted."""
        bucket = self._bucket(ids)
        more = torch.bincount(bucket, minlength=self._buckets)
        start = more.cumsum(0) - more
        place = bucket * self.bucket_rows + (self._used - start)[bucket]
        place += torch.arange(len(ids), device=ids.device)
        self.new_ids[place], self.new_count[place], self.new_seen[place] = ids, counts, seen
        self._used += more

    def _forget(self, buckets: Tensor) -> None:
        for buffer in (self.new_ids, self.new_count, self.new_seen):
            buffer.view(self._buckets, -1)[buckets] = 0
        self._used[buckets] = 0

    def _change_rows(self) -> None:
        """Give the rows of each bucket to the best of its values."""
        # All values of the buckets, those with a row first: at a tie of scores they keep it.
        held, new = self.count > 0, self.new_count > 0
        more = merge_notes(self.new_ids[new], self.new_count[new], self.new_seen[new])
        self._forget(torch.ones_like(self._used, dtype=torch.bool))
        old = (self.ids[held], self.count[held], self.seen[held])
        ids, count, seen = (torch.cat(pair) for pair in zip(old, more, strict=True))
        row = torch.cat([self.row[held], torch.full_like(more[0], -1)])  # -1: without a row so far

        # S - 1 values of each bucket get a row; the last row is that of all others.
        order, place = self._ranked(ids, self.eviction.score(count, seen, step=self._now))
        kept = order[place < self.bucket_rows - 1]
        ids, count, seen, row = ids[kept], count[kept], seen[kept], row[kept]
        fresh = row < 0
        free = self._free_rows(row[~fresh])
        taken = self._assign(self._bucket(ids[fresh]), free)
        row[fresh] = taken + self.part[0]
        free[taken] = False
        self.statistics[2] += len(old[0]) - (~fresh).sum()
        self.statistics[3] += fresh.sum()
        if len(taken):
            self._changed.append(row[fresh])
        self._write(ids, count, seen, row, free)

    def _free_rows(self, kept: Tensor) -> Tensor:
        """Return [M] bool, the rows that a value may get: not kept ones, not the shared row of a bucket."""
        free = torch.ones(self.output_size(), dtype=torch.bool, device=kept.device)
        free[kept - self.part[0]] = False
        free.view(self._buckets, -1)[:, -1] = False
        return free

    def _assign(self, buckets: Tensor, free: Tensor) -> Tensor:
        """Return the row of each new value: the n-th one of a bucket gets the n-th free row of it.

        Args:
            buckets: bucket of each new value, in ascending order.
            free: [M] bool; each bucket has a free row for each of its new values.
        """
        open_rows = free.nonzero()[:, 0]  # in order of the buckets, as the new values are
        number = torch.bincount(buckets, minlength=self._buckets)
        spare = free.view(self._buckets, -1).sum(1)
        # Where a bucket's free rows start among all free rows, less where its values start among all values.
        shift = (spare.cumsum(0) - spare) - (number.cumsum(0) - number)
        return open_rows[torch.arange(len(buckets), device=buckets.device) + shift[buckets]]

    def _write(self, ids: Tensor, count: Tensor, seen: Tensor, row: Tensor, free: Tensor) -> None:
        """Write the table in order of the ids; rows without a value stand behind those of their bucket."""
        free.view(self._buckets, -1)[:, -1] = True
        rest = free.nonzero()[:, 0] + self.part[0]
        ids = torch.cat([ids, self._last_id(rest)])
        by_id = torch.argsort(ids, stable=True)  # values before rows without one, whose id might be the same
        self.ids.copy_(ids[by_id])
        self.row.copy_(torch.cat([row, rest])[by_id])
        self.count.copy_(torch.cat([count, torch.zeros_like(rest)])[by_id])
        self.seen.copy_(torch.cat([seen, torch.zeros_like(rest)])[by_id])

    def _ranked(self, ids: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return [U] order by bucket, then by score, the best first; [U] the place of each in its bucket."""
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(self._bucket(ids[order]), stable=True)]
        sizes = torch.bincount(self._bucket(ids), minlength=self._buckets)
        start = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
        return order, torch.arange(len(ids), device=ids.device) - start

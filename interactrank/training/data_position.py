"""Maps training steps to batches, also after a resume with another number of ranks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from interactrank.core.epoch_partition import EpochPartition, Ranges
from interactrank.core.errors import TrainingError
from interactrank.training.settings import TrainingSettings

__all__ = ["DataPosition", "DataSchedule", "Loader", "PartitionableLoader", "Segment"]

logger = logging.getLogger(__name__)


class Loader(Protocol):
    """Batches of this rank, epoch by epoch."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; the same on every rank."""

    def epoch(self, n: int, start: int = 0) -> Iterator[object]:
        """Return the batches of epoch ``n`` from number ``start`` on; the same at every call."""


@runtime_checkable
class PartitionableLoader(Protocol):
    """A loader whose remaining epoch can be repartitioned; :class:`~interactrank.data.SearchLoader` is one.

    With any other loader a run that stopped within an epoch can only be resumed on as many ranks as it had.
    """

    def partition(self, ranges: Ranges | None = None) -> EpochPartition:
        """Return how the ranks share these ranges of an epoch; None for the whole epoch."""

    def epoch(self, n: int, start: int = 0, ranges: Ranges | None = None) -> Iterator[object]:
        """Return the batches of these ranges of epoch ``n``, from number ``start`` on."""


@dataclass(frozen=True)
class DataPosition:
    """Position in the training data.

    Attributes:
        step: steps done.
        epoch: epoch of the next step, from 0.
        epoch_step: steps done of this epoch's partition.
        ranks: number of ranks that share it.
        epoch_steps: steps of this epoch's partition.
        partitioned: ranges of the epoch that these ranks took over from others; None for a whole epoch.
        remaining: ranges of the epoch that no rank has taken yet; None if the loader cannot tell.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    ranks: int = 1
    epoch_steps: int = 0
    partitioned: Ranges | None = None
    remaining: Ranges | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the position in JSON's types, as a checkpoint keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataPosition:
        """Return the position that :meth:`to_json` gave, read back from JSON."""

        def ranges(value: list | None) -> Ranges | None:
            return None if value is None else tuple((first, last) for first, last in value)

        return cls(**(values | {key: ranges(values[key]) for key in ("partitioned", "remaining")}))


class Segment:
    """Consecutive steps; after the last one an overlapped pipeline is empty.

    Args:
        first: its first step.
        last: its last step.
        batches: those of its steps.

    Attributes:
        last: its last step.
        batches: those that no pipeline has taken yet.
        stopped: whether :meth:`stop_after` has ended it.

    Example::

        >>> segment = Segment(1, 9, iter("abcdefghi"))
        >>> for step in segment:
        ...     batch = next(segment.batches)
        ...     if step == 2:
        ...         segment.stop_after(step)
        >>> step, batch, next(segment.batches, None)
        (2, 'b', None)
    """

    def __init__(self, first: int, last: int, batches: Iterator[object]) -> None:
        self.first, self.last, self.batches = first, last, batches
        self.stopped = False

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while step <= self.last:
            yield step
            step += 1

    def stop_after(self, step: int) -> None:
        """End with ``step``: the pipeline gets no more batches, it trains on those that it has prefetched."""
        self.last, self.batches, self.stopped = step, iter(()), True


class DataSchedule:
    """The batches of a run, step by step.

    Args:
        loader: this rank's batches.
        settings: steps and epochs of the run.
        start: position to resume from, as :meth:`DataPosition.to_json` gives it, too; None for a new run.
        ranks: number of ranks now.

    Attributes:
        start: the position from which this process goes on, in terms of the present ranks.
        total: step at which the run ends.
        schedule_steps: length of the learning-rate schedule; see :meth:`schedule_step`.

    Raises:
        TrainingError: the run to resume used other data, or other ranks and the loader cannot repartition
            what remains; or a new run would end within its warm-up.
    """

    def __init__(
        self,
        loader: Loader,
        settings: TrainingSettings,
        start: DataPosition | dict[str, Any] | None = None,
        *,
        ranks: int = 1,
    ) -> None:
        self.loader, self.ranks = loader, ranks
        if isinstance(start, dict):
            start = DataPosition.from_json(start)
        self._partitionable = loader if isinstance(loader, PartitionableLoader) else None
        self.start = self._fit(start or DataPosition(ranks=ranks, epoch_steps=loader.steps_per_epoch))
        whole = loader.steps_per_epoch
        to_do = self._steps(self.start.partitioned) - self.start.epoch_step
        # By how much these ranks would have made more steps, had they run all of it.
        more = (self.start.epoch + 1) * whole - to_do - self.start.step
        self.total = settings.total_steps(whole, more)
        self._more = 0 if self.total == settings.steps else more
        self.schedule_steps = self.total + self._more
        warmup = settings.schedule.warmup_steps
        # A resumed run may have more ranks now, and fewer steps for it.
        if start is None and warmup >= self.total:
            raise TrainingError(
                f"training.schedule.warmup_steps: a warm-up of {warmup} steps is as long as the whole "
                f"training of {self.total}, or longer; set fewer, or train for more steps or epochs"
            )

    def schedule_step(self, step: int) -> int:
        """Return the step of the learning-rate schedule at step ``step``.

        A schedule over epochs counts in steps of the present ranks: the same share of the data is the same
        step of the schedule, whatever the number of ranks that trained on it.
        """
        return step + self._more

    def position(self, step: int) -> DataPosition:
        """Return the position after ``step`` steps."""
        done = self.start.epoch_step + step - self.start.step
        first = self._steps(self.start.partitioned)
        epoch, partitioned = self.start.epoch, self.start.partitioned
        if done >= first:
            epochs, done = divmod(done - first, self.loader.steps_per_epoch)
            epoch, partitioned = epoch + 1 + epochs, None
        remaining = self._partition(partitioned).remaining(done) if self._partitionable else None
        return DataPosition(step, epoch, done, self.ranks, self._steps(partitioned), partitioned, remaining)

    def segments(self, *every: int | None) -> Iterator[Segment]:
        """Yield the remaining steps in segments that end at the multiples of each ``every``, and at the end.

        The model can be evaluated and saved after a segment: a pipeline that prefetches is empty there.

        Args:
            every: steps between evaluations, between checkpoints, ...; None for never.
        """
        batches, done = self.batches(), self.start.step
        while done < self.total:
            last = min([self.total, *((done // n + 1) * n for n in every if n)])
            segment = Segment(done + 1, last, islice(batches, last - done))
            yield segment
            done = segment.last

    def batches(self, after: int | None = None) -> Iterator[object]:
        """Yield the batches after step ``after`` (the start if None), epoch after epoch, without end.

        Raises:
            TrainingError: the loader ends an epoch early.
        """
        at = self.position(self.start.step if after is None else after)
        epoch, count, partitioned = at.epoch, at.epoch_step, at.partitioned
        while True:
            steps = self._steps(partitioned)
            for batch in islice(self._epoch(epoch, count, partitioned), steps - count):
                count += 1
                yield batch
            if count < steps:
                raise TrainingError(
                    f"the loader gave {count} batches in epoch {epoch} on this rank instead of the "
                    f"{steps} of its steps_per_epoch"
                )
            epoch, count, partitioned = epoch + 1, 0, None

    def _steps(self, ranges: Ranges | None) -> int:
        return self.loader.steps_per_epoch if ranges is None else self._partition(ranges).steps

    def _epoch(self, n: int, start: int, ranges: Ranges | None) -> Iterator[object]:
        if ranges is None:
            return self.loader.epoch(n, start)
        assert self._partitionable is not None  # ranges come from its partition
        return self._partitionable.epoch(n, start, ranges)

    def _partition(self, ranges: Ranges | None) -> EpochPartition:
        assert self._partitionable is not None  # ranges come from its partition
        return self._partitionable.partition(ranges)

    def _fit(self, found: DataPosition) -> DataPosition:
        """Return the position in terms of the present ranks."""
        if found.partitioned is not None and self._partitionable is None:
            raise TrainingError(self._refusal(found))
        if self._partitionable is not None and found.remaining is not None:
            self._check_same_data(found.remaining)
        if found.ranks == self.ranks and found.epoch_steps == self._steps(found.partitioned):
            return found
        if found.epoch_step == 0 and found.partitioned is None:  # between epochs nothing remains
            return replace(found, ranks=self.ranks, epoch_steps=self.loader.steps_per_epoch)
        if self._partitionable is None or found.remaining is None:
            raise TrainingError(self._refusal(found))
        partition = self._partition(found.remaining)
        logger.info(
            "%d ranks stopped in epoch %d; its remaining %d samples are shared among %d ranks, in %d steps",
            *(found.ranks, found.epoch, partition.count, self.ranks, partition.steps),
        )
        if partition.count < self.ranks:
            logger.warning("fewer samples remain in this epoch than there are ranks: some ranks repeat one")
        return replace(
            found,
            epoch_step=0,
            ranks=self.ranks,
            epoch_steps=partition.steps,
            partitioned=found.remaining,
        )

    def _check_same_data(self, remaining: Ranges) -> None:
        count, last = self._partition(None).count, remaining[-1][1] if remaining else 0
        # The last sample of an epoch always remains, as the last rank has not come to its end.
        if last != count:
            raise TrainingError(
                f"the run to resume used {last} samples an epoch, and the loader has {count}: resume with "
                "the data that it was started with, or give another output folder"
            )

    def _refusal(self, found: DataPosition) -> str:
        return (
            f"the run to resume stopped in the middle of an epoch of {found.epoch_steps} steps on "
            f"{found.ranks} ranks; now there are {self.ranks} ranks and epochs of "
            f"{self.loader.steps_per_epoch} steps, and {type(self.loader).__name__} has no method "
            "`partition` to share what remains. Resume on as many ranks and with the same data, or add "
            "that method"
        )

"""The course of a run through its data: which batches come at which step, also after a change of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from interactrank.core.epoch_partition import Deal, Places
from interactrank.core.errors import TrainingError
from interactrank.distributed.collectives import say
from interactrank.training.batch_protocol import Batch
from interactrank.training.settings import TrainingSettings

__all__ = ["Course", "Loader", "Position", "SharedLoader"]


class Loader(Protocol):
    """What the trainer needs of a loader."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of a pass over the data; the same on every rank."""

    def epoch(self, n: int, start: int = 0) -> Iterator[Batch]:
        """Batches of pass ``n`` from number ``start`` on; the same at every call."""


@runtime_checkable
class SharedLoader(Protocol):
    """A loader whose passes can be dealt out anew; :class:`interactrank.data.SearchLoader` is one.

    Without it a run can only be resumed on the number of ranks that it had.
    """

    def deal(self, places: Places | None = None) -> Deal:
        """How the ranks share places of a pass; None for all of it."""

    def epoch(self, n: int, start: int = 0, places: Places | None = None) -> Iterator[Batch]:
        """Batches of these places of pass ``n``."""


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        step: steps done.
        epoch: pass over the data in which the next step lies, from 0.
        epoch_step: steps done of what was dealt out in that pass.
        ranks: how many ranks share it.
        epoch_steps: steps of what was dealt out.
        dealt: places of the pass that these ranks took over from others; None for a whole pass.
        left: places of the pass that no rank has taken yet; None where the loader cannot tell.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    ranks: int = 1
    epoch_steps: int = 0
    dealt: Places | None = None
    left: Places | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Position:
        """From what ``dataclasses.asdict`` and JSON made of one."""

        def places(value: list | None) -> Places | None:
            return None if value is None else tuple((first, last) for first, last in value)

        return cls(**(values | {key: places(values[key]) for key in ("dealt", "left")}))


class Course:
    """Where a run is at each step, and the batches from there on.

    Args:
        loader: this rank's batches.
        settings: steps and epochs of the run.
        start: where an earlier start has left the run; None for a new run.
        ranks: how many there are now.

    Attributes:
        start: the position from which this start goes on, in terms of the ranks there are now.
        total: step at which the run ends.
        schedule_steps: length of the learning-rate schedule; see :meth:`schedule_step`.

    Raises:
        TrainingError: the run went through other data, or other ranks took part and the loader cannot deal
            out what they left; or a new run would end within its warm-up.
    """

    def __init__(
        self, loader: Loader, settings: TrainingSettings, start: Position | None = None, *, ranks: int = 1
    ) -> None:
        self.loader, self.ranks = loader, ranks
        self.start = self._fit(start or Position(ranks=ranks, epoch_steps=loader.steps_per_epoch))
        whole = loader.steps_per_epoch
        left = self._steps(self.start.dealt) - self.start.epoch_step
        # Steps that these ranks would have made more, had they run all of it.
        more = (self.start.epoch + 1) * whole - left - self.start.step
        self.total = settings.total_steps(whole, more)
        self._more = 0 if self.total == settings.steps else more
        self.schedule_steps = self.total + self._more
        warmup = settings.schedule.warmup_steps
        # A run that goes on may have got more ranks, and fewer steps by that.
        if start is None and warmup >= self.total:
            raise TrainingError(
                f"training.schedule.warmup_steps: a warm-up of {warmup} steps is as long as the whole "
                f"training of {self.total}, or longer; set fewer, or train for more steps or epochs"
            )

    def schedule_step(self, step: int) -> int:
        """Step at which the learning-rate schedule is.

        A schedule over epochs counts in steps of the ranks there are now: the same share of the data is the
        same place in the schedule, whoever has gone through it.
        """
        return step + self._more

    def position(self, step: int) -> Position:
        """Where the run is after ``step`` steps."""
        done = self.start.epoch_step + step - self.start.step
        first = self._steps(self.start.dealt)
        epoch, dealt = self.start.epoch, self.start.dealt
        if done >= first:
            more, done = divmod(done - first, self.loader.steps_per_epoch)
            epoch, dealt = epoch + 1 + more, None
        left = self.loader.deal(dealt).left(done) if isinstance(self.loader, SharedLoader) else None
        return Position(step, epoch, done, self.ranks, self._steps(dealt), dealt, left)

    def batches(self, after: int | None = None) -> Iterator[Batch]:
        """Batches from the step behind ``after`` on (the start if None), pass after pass, without end.

        Raises:
            TrainingError: the loader ends a pass early.
        """
        at = self.position(self.start.step if after is None else after)
        epoch, count, dealt = at.epoch, at.epoch_step, at.dealt
        while True:
            steps = self._steps(dealt)
            for batch in islice(self._epoch(epoch, count, dealt), steps - count):
                count += 1
                yield batch
            if count < steps:
                raise TrainingError(
                    f"the loader gave {count} batches in epoch {epoch} on this rank instead of the "
                    f"{steps} of its steps_per_epoch"
                )
            epoch, count, dealt = epoch + 1, 0, None

    def _steps(self, dealt: Places | None) -> int:
        if dealt is None:
            return self.loader.steps_per_epoch
        assert isinstance(self.loader, SharedLoader)
        return self.loader.deal(dealt).steps

    def _epoch(self, n: int, start: int, dealt: Places | None) -> Iterator[Batch]:
        if dealt is None:
            return self.loader.epoch(n, start)
        assert isinstance(self.loader, SharedLoader)
        return self.loader.epoch(n, start, dealt)

    def _fit(self, found: Position) -> Position:
        """The position in terms of these ranks."""
        shared = isinstance(self.loader, SharedLoader)
        if found.dealt is not None and not shared:
            raise TrainingError(self._refusal(found))
        if shared and found.left is not None:
            self._check_places(found.left)
        if found.ranks == self.ranks and found.epoch_steps == self._steps(found.dealt):
            return found
        if found.epoch_step == 0 and found.dealt is None:  # between passes nothing is left over
            return replace(found, ranks=self.ranks, epoch_steps=self.loader.steps_per_epoch)
        if not isinstance(self.loader, SharedLoader) or found.left is None:
            raise TrainingError(self._refusal(found))
        deal = self.loader.deal(found.left)
        say(
            f"{found.ranks} ranks were in epoch {found.epoch}; the {deal.count} requests that they left are "
            f"shared among {self.ranks} now, in {deal.steps} steps"
        )
        if deal.count < self.ranks:
            say("fewer requests are left in this epoch than there are ranks: some ranks repeat one")
        return replace(found, epoch_step=0, ranks=self.ranks, epoch_steps=deal.steps, dealt=found.left)

    def _check_places(self, left: Places) -> None:
        assert isinstance(self.loader, SharedLoader)
        count, last = self.loader.deal().count, left[-1][1] if left else 0
        # What is left of a pass always holds its last request: the last rank has not come to its end.
        if last != count:
            raise TrainingError(
                f"the run to be resumed went through {last} requests an epoch, and the loader has {count}: "
                "resume with the data that it was started with, or give another output folder"
            )

    def _refusal(self, found: Position) -> str:
        return (
            f"the run to be resumed stopped in the middle of an epoch of {found.epoch_steps} steps on "
            f"{found.ranks} ranks; now there are {self.ranks} ranks and epochs of "
            f"{self.loader.steps_per_epoch} steps, and {type(self.loader).__name__} has no method `deal` to "
            "share what is left. Resume on as many ranks and with the same data, or add that method"
        )

"""Preemption: a signal to any rank stops all ranks at the same step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from interactrank.core.errors import UserError
from interactrank.core.step_sums import StepSums

__all__ = ["EXIT_PREEMPTED", "Agreement", "PreemptedError", "StopSignal"]

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: start it again


class PreemptedError(UserError, RuntimeError):
    """SIGTERM stopped the run, which has saved a checkpoint; started again, it resumes from there.

    The command line ends with exit code 75.
    """

    exit_code = EXIT_PREEMPTED


class StopSignal:
    """A context that records SIGTERM instead of terminating; repeated signals are ignored.

    Outside of the main thread Python allows no handlers, and the signal keeps its effect.

    Attributes:
        requested: whether the signal came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


class Agreement:
    """Flags that hold for all ranks as soon as one rank has raised them.

    Ranks ask before a step and read the answer after it, so that the exchange costs the step no time.

    Args:
        sums: of the step, whose message carries the flags; None for a message of their own.
    """

    def __init__(self, sums: StepSums | None = None) -> None:
        self._sums = sums
        self._flags = torch.zeros(0)
        self._work: Any = None

    def ask(self, *flags: bool) -> None:
        """Tell the other ranks this rank's flags. All ranks must call it, with equally many flags."""
        self._flags = torch.tensor(flags, dtype=torch.float32)
        if self._sums is not None:
            self._sums.add(self._flags, self._set)
        elif dist.get_world_size() > 1:
            self._work = dist.all_reduce(self._flags, op=dist.ReduceOp.MAX, async_op=True)

    def answer(self) -> tuple[bool, ...]:
        """Return, for each flag, whether any rank had raised it when it asked."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return tuple(bool(flag) for flag in self._flags.tolist())

    def _set(self, flags: torch.Tensor) -> None:
        self._flags = flags.clone()

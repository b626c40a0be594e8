"""The steps since the last row of metrics: mean losses, speed, and the first step that went wrong.

Losses stay on the device until a row is written, so that checking them costs no synchronisation per step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchrec.distributed.model_parallel import DistributedModelParallel

from interactrank.core.errors import UserError
from interactrank.distributed.collectives import all_gather_objects
from interactrank.training.batch_protocol import named_tensors
from interactrank.training.pipeline import StepResult

__all__ = ["NonFiniteLossError", "Window", "batch_statistics", "check_finite_state"]


NOT_FINITE = "the loss or a gradient is not finite"
"""In the message of every :class:`NonFiniteLossError` of a loss, which a rank of another process quotes."""


class NonFiniteLossError(UserError, RuntimeError):
    """The loss, a gradient or a weight became NaN or infinite; says at which step, on which ranks."""


@dataclass(frozen=True)
class _Entry:
    step: int
    result: StepResult
    grad_norm: Tensor


class Window:
    """The steps since the last row of metrics."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._start = time.perf_counter()

    def restart_clock(self) -> None:
        """Leave the time until now, such as that of an evaluation, out of the speed."""
        self._start = time.perf_counter()

    def add(self, step: int, result: StepResult, grad_norm: Tensor) -> None:
        """Note a step; its outputs are not kept."""
        self._entries.append(_Entry(step, replace(result, outputs=None), grad_norm))

    def close(self, batch_of: Callable[[int], object]) -> dict[str, float]:
        """Return means over the steps and ranks of the window, and empty it. All ranks must call it.

        Args:
            batch_of: step -> this rank's batch of that step; called only if the loss went wrong.

        Returns:
            ``loss``, each ``loss/<part>``, ``grad_norm`` and ``<unit>_per_s`` (of all ranks).

        Raises:
            NonFiniteLossError: on all ranks, if the loss of any was NaN or infinite.
        """
        results = [e.result for e in self._entries]
        losses = torch.stack([r.loss.float() for r in results]).cpu()
        norms = torch.stack([e.grad_norm.float() for e in self._entries]).cpu()
        bad = ~(losses.isfinite() & norms.isfinite())
        first = self._entries[int(bad.nonzero()[0])].step if bad.any() else None
        steps = [step for step in all_gather_objects(first) if step is not None]
        if steps:
            self._explain(min(steps), batch_of)
        means = {"loss": float(losses.mean())}
        for name in results[0].parts:
            means[name] = float(torch.stack([r.parts[name].float() for r in results]).mean())
        means["grad_norm"] = float(norms.mean())
        seconds = time.perf_counter() - self._start
        everyone = all_gather_objects((means, sum(r.samples for r in results) / max(seconds, 1e-9)))
        row = {name: sum(theirs[name] for theirs, _ in everyone) / len(everyone) for name in means}
        row[f"{results[0].unit}_per_s"] = sum(rate for _, rate in everyone)
        self._entries.clear()
        self._start = time.perf_counter()
        return row

    def _explain(self, step: int, batch_of: Callable[[int], object]) -> None:
        entry = next(e for e in self._entries if e.step == step)
        loss, parts = entry.result.loss, entry.result.parts
        wrong_loss = not bool(loss.isfinite())
        anywhere = any(all_gather_objects(wrong_loss))
        mine = None
        if wrong_loss or not anywhere:  # a bad gradient is the same on all ranks: any batch may be the cause
            listed = "".join(f", {name} {float(value):g}" for name, value in parts.items())
            mine = f"loss {float(loss):g}{listed}, gradient norm {float(entry.grad_norm):g}\n"
            try:
                mine += batch_statistics(batch_of(step))
            except Exception as error:
                mine += f"  its batch could not be read again: {type(error).__name__}: {error}"
        reports = [
            f"rank {rank}: {text}" for rank, text in enumerate(all_gather_objects(mine)) if text is not None
        ]
        raise NonFiniteLossError(
            f"step {step}: {NOT_FINITE}. The last checkpoint is from before it. "
            "Look for inputs out of range below, lower the learning rates, or set training.clip_norm.\n"
            + "\n".join(reports)
        )


def batch_statistics(batch: object) -> str:
    """Return a line for each tensor of a batch: shape, smallest and largest value, NaN and infinities.

    Example::

        >>> print(batch_statistics({"price": torch.tensor([1.5, float("nan")])}))
          price [2]: 1.5 to 1.5, 1 NaN, 0 infinite
    """
    return "\n".join(_line(name, tensor) for name, tensor in named_tensors(batch))


def _line(name: str, value: Tensor) -> str:
    shape = " x ".join(map(str, value.shape))
    if value.is_floating_point():
        finite = value[value.isfinite()]
        bad = f", {int(value.isnan().sum())} NaN, {int(value.isinf().sum())} infinite"
    else:
        finite, bad = value, ""
    span = f"{finite.min().item():g} to {finite.max().item():g}" if finite.numel() else "no values"
    return f"  {name} [{shape}]: {span}{bad}"


@torch.no_grad()
def check_finite_state(dmp: DistributedModelParallel, step: int) -> None:
    """Refuse weights with NaN or infinities, before they are saved. All ranks must call it.

    Raises:
        NonFiniteLossError: on all ranks; names the parameters and where they are wrong.
    """
    wrong = []
    for name, parameter in dmp.named_parameters():
        if parameter.numel() and parameter.is_floating_point():
            low, high = parameter.detach().aminmax()  # one pass without a copy; NaN wins
            if not (low.isfinite() and high.isfinite()):
                wrong.append(name)
    reports = [
        f"rank {rank}: {', '.join(names)}" for rank, names in enumerate(all_gather_objects(wrong)) if names
    ]
    if reports:
        raise NonFiniteLossError(
            f"step {step}: weights are not finite and were not saved; the last checkpoint is from before it. "
            "Lower the learning rates, or set training.clip_norm.\n" + "\n".join(reports)
        )

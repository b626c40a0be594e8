"""The ids of all collections of a batch, and their lengths, in one message instead of two for each.

TorchRec's pipeline exchanges how many ids go where for all collections at once, and then sends lengths and
ids of each collection apart. On CPU a message costs more than its bytes; here what is sent within a block
travels together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed import dist_data

__all__ = ["one_exchange"]


class _Sent:
    """A part of the message; what TorchRec takes for the work of its own one."""

    def __init__(self, output: Tensor, outputs: list[int], given: Tensor, inputs: list[int]) -> None:
        self.output, self.outputs, self.inputs = output, outputs, inputs
        self.pieces = given.split(inputs)
        self.message: _Message | None = None

    def wait(self) -> None:
        """Wait until the part is in its tensor."""
        assert self.message is not None, "the block that sends it has not ended"
        self.message.receive()


class _Message:
    """int64 tensors to every rank, those for a rank one behind the other."""

    def __init__(self, parts: list[_Sent], group: dist.ProcessGroup | None) -> None:
        self.parts = parts
        ranks = range(dist.get_world_size(group))
        outputs = [sum(part.outputs[r] for part in parts) for r in ranks]
        inputs = [sum(part.inputs[r] for part in parts) for r in ranks]
        # Kept as an attribute: it must live until it has been sent.
        self.given = torch.cat([part.pieces[r] for r in ranks for part in parts])
        self.received = self.given.new_empty(sum(outputs))
        self.work: Any = dist.all_to_all_single(
            self.received, self.given, outputs, inputs, group=group, async_op=True
        )
        for part in parts:
            part.message = self

    def receive(self) -> None:
        """Hand the parts to their tensors, once."""
        if self.work is None:
            return
        self.work.wait()
        self.work = None
        pieces = self.received.split(
            [part.outputs[r] for r in range(len(self.parts[0].outputs)) for part in self.parts]
        )
        for n, part in enumerate(self.parts):
            torch.cat(pieces[n :: len(self.parts)], out=part.output)


class _Together:
    """Stands for ``torch.distributed`` in TorchRec's module; all but its own method comes from there."""

    def __init__(self) -> None:
        self.parts: dict[dist.ProcessGroup | None, list[_Sent]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(dist, name)

    def all_to_all_single(
        self,
        output: Tensor,
        input: Tensor,
        output_split_sizes: list[int] | None = None,
        input_split_sizes: list[int] | None = None,
        group: dist.ProcessGroup | None = None,
        async_op: bool = False,
    ) -> Any:
        """Keep int64 ids on CPU for the message; send anything else at once."""
        if (
            input.dtype != torch.int64
            or input.dim() != 1
            or input.device.type != "cpu"
            or output_split_sizes is None
            or input_split_sizes is None
            or not async_op
        ):
            return dist.all_to_all_single(
                output, input, output_split_sizes, input_split_sizes, group=group, async_op=async_op
            )
        part = _Sent(output, output_split_sizes, input, input_split_sizes)
        self.parts.setdefault(group, []).append(part)
        return part


@contextmanager
def one_exchange() -> Iterator[None]:
    """Send what TorchRec exchanges of ids in the block at its end, in one message for each group of ranks.

    Nothing may be waited for within the block. All ranks must enter it.
    """
    together = _Together()
    dist_data.dist, before = together, dist_data.dist
    try:
        yield
    finally:
        dist_data.dist = before
    for group, parts in together.parts.items():
        _Message(parts, group)

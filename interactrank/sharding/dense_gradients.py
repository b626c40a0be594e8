"""Averages of the dense gradients over the ranks, in as few messages as their size allows.

TorchRec wraps the dense part of a model, and each collection with replicated tables, in a
DistributedDataParallel of its own, each with its own messages. Here all of them share buckets, which travel
while the backward pass goes on with other parameters, as those of DistributedDataParallel do (Li et al. 2020,
"PyTorch Distributed", arXiv 2006.15704, section 3.2). On one rank nothing is wrapped and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchrec.distributed.model_parallel import DataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingEnv

from interactrank.core.step_sums import StepSums
from interactrank.sharding.errors import ShardingError

__all__ = ["DenseGradients", "OneDataParallel"]

BUCKET_BYTES = 25 * 2**20  # that of DistributedDataParallel
SPARE = 256  # numbers for what travels along, at first


class OneDataParallel(DataParallelWrapper):
    """Replicates what is not sharded, tables among it.

    Args:
        unused_parameters: whether a batch may leave parameters without a gradient.
    """

    def __init__(self, *, unused_parameters: bool) -> None:
        self.unused_parameters = unused_parameters

    def wrap(self, dmp: DistributedModelParallel, env: ShardingEnv, device: torch.device) -> None:
        """Give every rank the dense weights of rank 0, and ``dmp`` its :class:`DenseGradients`.

        Args:
            dmp: gets the attribute ``dense_gradients``: None on one rank, or if nothing is replicated.
            env: the ranks.
            device: where the dense part goes.
        """
        module = dmp._dmp_wrapped_module = dmp._dmp_wrapped_module.to(device)
        replicated = _unwrapped_lookups(module)
        sharded = set(DistributedModelParallel._sharded_parameter_names(module))
        dense = {name: p for name, p in module.named_parameters() if name not in sharded}
        dmp.dense_gradients = None
        if env.world_size == 1:
            return
        with torch.no_grad():
            for value in [*dense.values(), *module.buffers()]:
                dist.broadcast(value, 0, group=env.process_group)
        averaged = {name: p for name, p in (replicated | dense).items() if p.requires_grad}
        if averaged:
            dmp.dense_gradients = gradients = DenseGradients(
                averaged, env.process_group, unused_parameters=self.unused_parameters
            )
            gradients.watch(dmp)


def _unwrapped_lookups(module: nn.Module) -> dict[str, nn.Parameter]:
    """Take the look-ups of replicated tables out of their wrappers; return name -> weights.

    Tables of a look-up lie in one parameter, which ``module.parameters()`` shows by parts.
    """
    found: dict[str, nn.Parameter] = {}
    for path, collection in module.named_modules():
        lookups: list[nn.Module] = getattr(collection, "_lookups", [])
        for n, lookup in enumerate(lookups):
            if isinstance(lookup, DistributedDataParallel):
                lookups[n] = lookup.module
                found |= {f"{path}.{name}": p for name, p in lookup.module.named_parameters()}
    return found


class _Bucket:
    """Parameters whose gradients travel in one message: [numbers | whether each has a gradient | spare].

    Args:
        names: of the parameters.
        parameters: of one type, on one device.
    """

    def __init__(self, names: list[str], parameters: list[nn.Parameter]) -> None:
        self.names, self.parameters = names, parameters
        self.size = sum(p.numel() for p in parameters)
        self.waiting = len(parameters)
        self.work: Any = None
        self.carried = 0
        self.allocate(SPARE)

    def allocate(self, spare: int) -> None:
        """Make room for the gradients and this number of other numbers."""
        first = self.parameters[0]
        self.buffer = first.new_zeros(self.size + len(self.parameters) + spare)
        parts = self.buffer[: self.size].split([p.numel() for p in self.parameters])
        self.views = [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]
        self.flags = self.buffer[self.size : self.size + len(self.parameters)]
        self.spare = self.buffer[self.size + len(self.parameters) :]

    def without_gradient(self) -> list[str]:
        """Return the names of the parameters that have none on this rank."""
        return [name for name, p in zip(self.names, self.parameters, strict=True) if p.grad is None]

    @torch.no_grad()
    def send(self, extra: Tensor | None, group: dist.ProcessGroup | None) -> None:
        """Start to average the gradients; ``extra`` is summed on the way."""
        self.carried = 0 if extra is None else len(extra)
        if self.carried > len(self.spare):
            self.allocate(2 * self.carried)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        self.flags.fill_(1)
        if self.waiting:
            self.flags.copy_(torch.tensor([float(p.grad is not None) for p in self.parameters]))
        torch._foreach_copy_(self.views, gradients)
        self.buffer[: self.size].div_(dist.get_world_size(group))
        if extra is not None:
            self.spare[: self.carried].copy_(extra)
        message = self.buffer[: self.size + len(self.parameters) + self.carried]
        self.work = dist.all_reduce(message, group=group, async_op=True)

    def receive(self) -> Tensor:
        """Wait for the averages, give them to the parameters, and return the sums that came along."""
        self.work.wait()
        self.work = None
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.grad = view
        if self.waiting:  # else this rank has a gradient for each, and need not look
            for parameter, used in zip(self.parameters, self.flags.tolist(), strict=True):
                if not used:
                    parameter.grad = None
        self.waiting = len(self.parameters)
        return self.spare[: self.carried]


class DenseGradients:
    """Averages the gradients of parameters over the ranks at the end of each backward pass.

    Args:
        parameters: name -> parameter, the same on all ranks.
        group: the ranks.
        unused_parameters: whether a batch may leave some without a gradient; messages then wait for the end
            of the backward pass, and a parameter that no rank has used keeps the gradient None.
        bucket_bytes: size from which a message is complete.

    Attributes:
        sums: what else travels with the gradients.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        group: dist.ProcessGroup | None,
        *,
        unused_parameters: bool = False,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        self.group, self.unused_parameters = group, unused_parameters
        self.sums = StepSums(rank=dist.get_rank(group), ranks=dist.get_world_size(group))
        self._buckets = [_Bucket(*of) for of in _cut(parameters, bucket_bytes)]
        # Counts need more bits than half precision has.
        wide = [n for n, b in enumerate(self._buckets) if b.buffer.dtype in (torch.float32, torch.float64)]
        self._carrier = max(wide, default=None)
        self._sent = 0  # buckets, of this backward pass
        self._running = False
        for bucket in self._buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(self._hook(bucket))

    def watch(self, dmp: nn.Module) -> None:
        """Offer :attr:`sums` to the modules of a model in each of its forward passes for training."""
        forward = dmp.forward

        def offering(*arguments: Any, **named: Any) -> Any:
            if not (dmp.training and torch.is_grad_enabled()):
                return forward(*arguments, **named)
            with self.sums.open():
                return forward(*arguments, **named)

        dmp.forward = offering

    def _hook(self, bucket: _Bucket) -> Any:
        def arrived(parameter: Tensor) -> None:
            if not self._running:
                self._running = True
                torch.autograd.Variable._execution_engine.queue_callback(self._finish)
            bucket.waiting -= 1
            if not bucket.waiting and not self.unused_parameters:
                self._send_complete()

        return arrived

    def _send_complete(self) -> None:
        """Send the buckets whose turn it is: on every rank in the same order."""
        while self._sent < len(self._buckets) and not self._buckets[self._sent].waiting:
            self._send_next()

    def _send_next(self) -> None:
        extra = self.sums.take() if self._sent == self._carrier else None
        self._buckets[self._sent].send(extra, self.group)
        self._sent += 1

    def _finish(self) -> None:
        """End a backward pass.

        Raises:
            ShardingError: parameters have no gradient on this rank, and must have one.
        """
        self._running = False
        missing = [name for b in self._buckets for name in b.without_gradient()]
        if missing and not self.unused_parameters:
            raise ShardingError(
                f"parameters without a gradient: {', '.join(missing)}. Take them out of the model, or set "
                "training.unused_parameters to true if only some batches leave them unused"
            )
        while self._sent < len(self._buckets):
            self._send_next()
        self._sent = 0
        for number, bucket in enumerate(self._buckets):
            extra = bucket.receive()
            if number == self._carrier:
                self.sums.give(extra)
        if self._carrier is None and (alone := self.sums.take()) is not None:
            dist.all_reduce(alone, group=self.group)
            self.sums.give(alone)


def _cut(
    parameters: Mapping[str, nn.Parameter], bucket_bytes: int
) -> list[tuple[list[str], list[nn.Parameter]]]:
    """Cut the parameters, last ones first as gradients come, where a bucket is full or the type changes."""
    found: list[tuple[list[str], list[nn.Parameter]]] = []
    size, kind = 0, None
    for name, parameter in reversed(list(parameters.items())):
        if (parameter.dtype, parameter.device) != kind or size >= bucket_bytes:
            found.append(([], []))
            size, kind = 0, (parameter.dtype, parameter.device)
        found[-1][0].append(name)
        found[-1][1].append(parameter)
        size += parameter.numel() * parameter.element_size()
    return found

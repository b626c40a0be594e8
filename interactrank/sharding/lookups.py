"""The FBGEMM kernels of a sharded model, which TorchRec hides from the model's modules and buffers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["lookup_modules"]


def lookup_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Yield every module inside the look-ups of a sharded model's collections, FBGEMM's kernels among them.

    Args:
        model: a sharded model; an unsharded one has none.
    """
    for collection in model.modules():
        for lookup in getattr(collection, "_lookups", ()):
            yield from lookup.modules()

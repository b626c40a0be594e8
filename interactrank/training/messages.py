"""The messages of a training step: how many collectives of each kind, and how many bytes a rank hands over.

One step is looked at with torch's profiler, which sees the collectives of every library, also those of DDP's
reducer in C++. Other steps pay nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["KINDS", "counted_messages", "message_counts"]

KINDS = ("all_to_all", "all_reduce", "reduce_scatter", "all_gather", "broadcast", "other")

_EVENT = re.compile(r"(?:gloo|nccl):_?(\w+)")
_BYTES = {"double": 8, "long int": 8, "int": 4, "float": 4, "c10::Half": 2, "c10::BFloat16": 2}


@contextmanager
def counted_messages() -> Iterator[dict[str, float]]:
    """Count the collectives of a block in a dictionary, which is filled when the block ends.

    It stays empty if a profiler is running already, as two cannot.
    """
    counts: dict[str, float] = {}
    if torch.autograd._profiler_enabled():
        yield counts
        return
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        yield counts
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    events: Any = [] if results is None else results.events()
    counts |= message_counts((e.name(), e.shapes(), e.dtypes()) for e in events)


def message_counts(events: Any) -> dict[str, float]:
    """Return ``messages/<kind>`` and ``messages/<kind>_bytes`` of a profile, for kinds that it has.

    Args:
        events: (name, shapes of the inputs, their types) of each event.

    Example::

        >>> message_counts([("gloo:all_reduce", [[10, 2]], ["float"]), ("aten::add", [[3]], ["float"])])
        {'messages/all_reduce': 1.0, 'messages/all_reduce_bytes': 80.0}
    """
    counts: dict[str, float] = {}
    for name, shapes, types in events:
        found = _EVENT.fullmatch(name)
        if found is None:
            continue
        key = f"messages/{_kind(found[1])}"
        size = sum(prod(shape) * _BYTES.get(kind, 1) for shape, kind in zip(shapes, types, strict=False))
        counts[key] = counts.get(key, 0.0) + 1.0
        counts[f"{key}_bytes"] = counts.get(f"{key}_bytes", 0.0) + float(size)
    return counts


def _kind(name: str) -> str:
    plain = name.replace("_", "")
    return next((kind for kind in KINDS if kind.replace("_", "") in plain), KINDS[-1])

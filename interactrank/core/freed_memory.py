"""Memory that a training gives back to itself: blocks freed in one step serve the next one.

glibc takes blocks beyond a threshold straight from the kernel and returns them when they are freed. The
tensors of a training step are such blocks, of the same sizes in every step, so that the kernel maps and
zeroes the same pages again and again: a sixth of the time of a step on CPU. PyTorch's own allocator for GPUs
keeps what is freed, as other allocators for processors do (PyTorch Performance Tuning Guide, "Use TCMalloc
or jemalloc"). mallopt(3) asks glibc for the same.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

__all__ = ["keep_freed_memory"]

# Numbers of the parameters in malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 * 2**20  # bytes; glibc takes no larger one. Larger blocks still go back when freed
KEPT_AT_MOST = 2**30  # bytes, unused at the end of the heap


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Ask glibc to keep freed blocks of up to 32 MiB, 1 GiB of them, for the life of this process.

    The process then holds on to the most memory that it needed at a time. What the user has set in the
    environment stays (``MALLOC_...``, ``GLIBC_TUNABLES``).

    Args:
        environment: that the process was started with.

    Returns:
        Whether it was asked and agreed; False with another C library.

    Example::

        >>> keep_freed_memory({"MALLOC_TRIM_THRESHOLD_": "65536"})
        False
    """
    if any(name.startswith("MALLOC_") for name in environment) or "glibc.malloc" in environment.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    agreed = [mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT), mallopt(M_TRIM_THRESHOLD, KEPT_AT_MOST)]
    return all(agreed)

"""glibc says itself how many blocks it has taken straight from the kernel."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from interactrank.core.freed_memory import keep_freed_memory

SCRIPT = """
import ctypes, sys

class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallinfo2.restype = MallInfo
if sys.argv[1] == "keep":
    from interactrank.core.freed_memory import keep_freed_memory
    assert keep_freed_memory({})
before, taken = libc.mallinfo2().hblks, []
block = libc.malloc(20 << 20)
mapped = libc.mallinfo2().hblks - before
free = libc.mallinfo2().fordblks
libc.free(block)
print(mapped, (libc.mallinfo2().fordblks - free) >> 20)
"""

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc")


def mapped_and_kept(how: str) -> tuple[int, int]:
    """Blocks that a request for 20 MiB took from the kernel, and MiB that stayed free after it."""
    found = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    mapped, kept = found.stdout.split()
    return int(mapped), int(kept)


@glibc
def test_a_freed_block_stays_in_the_process() -> None:
    assert mapped_and_kept("by default") == (1, 0)
    assert mapped_and_kept("keep") == (0, 20)


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_MMAP_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=65536"}],
)
def test_settings_of_the_user_stay(environment: dict[str, str]) -> None:
    assert keep_freed_memory(environment) is False

"""What a result was measured on: hardware, versions, load, and the rates that bound it."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from interactrank.core.installed import version_of

LIBRARIES = ("torch", "torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu", "numpy", "interactrank")
# Widest instructions first; the word goes into the hardware's short name.
VECTORS = (("avx512f", "avx512"), ("avx2", "avx2"), ("asimd", "neon"))
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16")


def describe(device: torch.device) -> dict[str, Any]:
    """Hardware as a result file records it, without anything that names the machine itself."""
    flags = cpu_flags()
    out: dict[str, Any] = {
        "name": short_name(device),
        "cpu": _cpu_model(),
        "cores": cores(),
        "vector": next((word for flag, word in VECTORS if flag in flags), "none"),
        "bf16_instructions": sorted(flags.intersection(BF16_FLAGS)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        out |= {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30)}
    return out


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide about speed."""
    found = {name: version_of(name) for name in LIBRARIES}
    installed = {name: version for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), **installed}


def short_name(device: torch.device) -> str:
    """Such as ``epyc_avx2_2core`` or ``nvidia_h100``: part of the names of result files."""
    if device.type == "cuda":
        return _slug(torch.cuda.get_device_name(device))
    brand = _cpu_model().replace("(R)", "").replace("(TM)", "").split("@")[0]
    words = [w for w in _slug(brand).split("_") if w not in ("amd", "intel", "cpu", "processor")]
    flags = cpu_flags()
    vector = next((word for flag, word in VECTORS if flag in flags), platform.machine())
    return "_".join([*words[:2], vector, f"{cores()}core"])


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cpu_flags() -> frozenset[str]:
    """Instruction sets by the names of /proc/cpuinfo; empty where there is none."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def load() -> list[float]:
    """Processes that wanted to run, on average over the last 1, 5 and 15 minutes."""
    return [round(x, 2) for x in os.getloadavg()]


def matmul_rates(
    shapes: list[tuple[int, int, int]], dtype: torch.dtype, device: torch.device, seconds: float = 0.3
) -> float:
    """GFLOP/s of ``a [m, k] @ b [k, n]`` over ``shapes`` (m, k, n), outputs already allocated.

    All shapes are run one after the other; the best of several rounds counts, since what is asked for is
    what the machine can do.
    """
    work = sum(2 * m * k * n for m, k, n in shapes)
    operands = [
        (
            torch.randn(m, k, device=device, dtype=dtype),
            torch.randn(k, n, device=device, dtype=dtype),
            torch.empty(m, n, device=device, dtype=dtype),
        )
        for m, k, n in shapes
    ]

    def once() -> None:
        for a, b, out in operands:
            torch.mm(a, b, out=out)

    return work / best_seconds(once, device, seconds) / 1e9


def best_seconds(step: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Shortest of the calls that fit into ``seconds``, at least three after one to warm up.

    With one thread on a CPU it is CPU time, which other processes of the machine disturb less. A step too
    short for that clock is repeated until a measurement covers 20 of the clock's steps.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def spent(repeats: int) -> float:
        synchronize(device)
        start = clock()
        for _ in range(repeats):
            step()
        synchronize(device)
        return clock() - start

    step()
    repeats, enough = 1, 20 * cpu_clock_step() if alone else 0.0
    while spent(repeats) < enough:
        repeats *= 2
    best, calls, stop = float("inf"), 0, time.perf_counter() + seconds
    while calls < 3 or time.perf_counter() < stop:
        best = min(best, spent(repeats) / repeats)
        calls += 1
    return best


@cache
def cpu_clock_step() -> float:
    """Seconds by which the clock of CPU time advances: 10 ms where ticks are counted, else under 1 us."""
    steps = []
    for _ in range(3):
        start = time.process_time()
        while (now := time.process_time()) == start:
            pass
        steps.append(now - start)
    return min(steps)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")

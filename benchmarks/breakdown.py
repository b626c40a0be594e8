"""Where the time of a step goes, by kind of work."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, report
from benchmarks.harness import Step

# The first kind with a matching word has the operator.
KINDS = {
    "matmul": ("mm", "linear"),
    "layer norm": ("layer_norm",),
    "optimizer": ("adam", "addcdiv", "addcmul", "lerp"),
    "clipping": ("norm", "foreach_mul", "stack"),
    "concat and copy": ("cat", "copy", "clone", "contiguous"),
    "relu and masks": ("threshold", "relu", "mul", "dropout", "bernoulli", "index_fill", "random"),
    "zero, add, allocate": ("zero", "fill", "add", "empty", "sum"),
}


def where_time_goes(name: str, steps: dict[str, Step], device: torch.device, steps_each: int) -> report.Table:
    """Milliseconds of a step by kind of operator, on the device that does the work."""
    shares = {contestant: _by_kind(step, device, steps_each) for contestant, step in steps.items()}
    return report.Table(
        title=f"Where the time goes, {name}",
        columns=["kind", *(f"{contestant} ms" for contestant in shares)],
        rows=[[kind, *(of[kind] for of in shares.values())] for kind in (*KINDS, "other", "all")],
        note="",
    )


def _by_kind(step: Step, device: torch.device, steps: int) -> dict[str, float]:
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    step()
    machine.synchronize(device)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        machine.synchronize(device)
    found: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        kind = next((kind for kind, words in KINDS.items() if any(w in event.key for w in words)), "other")
        found[kind] += spent / 1e3 / steps
        found["all"] += spent / 1e3 / steps
    return found

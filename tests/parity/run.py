"""Runs the cases of a golden folder and compares values and gradients within each case's tolerance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.parity import features, layers, losses, metrics, scoring, sequence
from tests.parity.case import Case, Skipped

ADAPTERS = {
    **layers.ADAPTERS,
    **features.ADAPTERS,
    **sequence.ADAPTERS,
    **scoring.ADAPTERS,
    **losses.ADAPTERS,
    **metrics.ADAPTERS,
}
ROUNDINGS = 32
"""Roundings of float32 (2^-24 each) of a tensor's largest number that the reference may be off by.

A case's tolerance is relative to each single number, but a number that is the difference of large ones
carries their rounding. In ``fully_connected__low_rank`` the reference's gradients are off by 12 to 23
roundings of the tensor's largest number (ours in float64 against the golden ones), and our own float32 run is
off by 11 to 24: it is the rounding of float32, and the case's 5e-5 of a small number is below it. Elsewhere
the case's own tolerance is the wider one, or there is room in it.
"""
NOT_NEEDED = {
    "img_sig_to_id": "not needed: ids come from the log",
    "clip_adam": "not needed: torch's own Adam and clipping serve",
}


@dataclass(frozen=True)
class Outcome:
    """``status`` is passed, failed or skipped; ``text`` says how close, what differs, or why not."""

    case: str
    status: str
    text: str


def notes(folder: Path) -> list[Path]:
    """The JSON notes of a golden folder."""
    return sorted(path for path in folder.glob("*.json") if path.name != "INDEX.json")


def run_case(note: Path) -> Outcome:
    """Compare one case."""
    counts = note.stem.split("__")[0] in metrics.ADAPTERS
    # Metrics count scores above thresholds that are float32 numbers; there is no gradient and no long sum.
    dtype = torch.float32 if counts else torch.float64
    case = Case(note, dtype)
    if case.component in NOT_NEEDED:
        return Outcome(case.name, "skipped", NOT_NEEDED[case.component])
    if case.component not in ADAPTERS:
        return Outcome(case.name, "failed", f"unknown component {case.component!r}")
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # of the weights that an adapter's modules make
    try:
        values = ADAPTERS[case.component](case)
    except Skipped as reason:
        return Outcome(case.name, "skipped", str(reason))
    except Exception as error:
        return Outcome(case.name, "failed", f"{type(error).__name__}: {error}")
    finally:
        torch.set_default_dtype(before)
    return _compare(case, values)


def run_folder(folder: Path) -> list[Outcome]:
    """Compare every case of a folder."""
    return [run_case(note) for note in notes(folder)]


def summary(outcomes: list[Outcome]) -> str:
    """``N passed, N failed, N skipped``."""
    count = Counter(outcome.status for outcome in outcomes)
    return f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"


def _compare(case: Case, values: dict[str, Tensor]) -> Outcome:
    wrong, largest, where = [], 0.0, "-"
    due = [n for n in case.tensors if n.startswith(("out.", "grad.", "state.")) and n not in case.left_out]
    wrong += [f"{name} was not computed" for name in due if name not in values]
    for name, ours in values.items():
        if name in case.left_out:
            continue
        error, excess = _error(ours.detach(), case[name], case.rtol, case.atol)
        if error > largest:
            largest, where = error, name
        if excess > 1:
            wrong.append(f"{name} is off by {error:.3g} ({excess:.3g} x tolerance)")
    if wrong:
        return Outcome(case.name, "failed", "; ".join(wrong))
    text = f"largest error {largest:.2e} ({where})"
    for reason in sorted(set(case.left_out.values())):
        text += f"; not compared: {', '.join(n for n, r in case.left_out.items() if r == reason)}: {reason}"
    return Outcome(case.name, "passed", text)


def _error(ours: Tensor, golden: Tensor, rtol: float, atol: float) -> tuple[float, float]:
    """(largest absolute error, largest error in units of its tolerance)."""
    ours, golden = ours.double().flatten(), golden.double().flatten()
    if ours.shape != golden.shape:
        return float("inf"), float("inf")
    same = (ours == golden) | (ours.isnan() & golden.isnan())
    error = torch.where(same, 0.0, (ours - golden).abs().nan_to_num(nan=torch.inf))
    size = golden.abs().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    rounding = ROUNDINGS * 2.0**-24 * size.max() if size.numel() else 0.0
    excess = error / (atol + rtol * size).clamp_min(float(rounding))
    return (float(error.max()), float(excess.max())) if error.numel() else (0.0, 0.0)

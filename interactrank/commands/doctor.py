"""``interactrank doctor``: what is installed, what does not match, and what to run then."""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement

from interactrank.core.installed import version_of
from interactrank.core.versions import CPU_BUILD, CUDA_BUILD, RULE, Trio
from interactrank.version import __version__

__all__ = ["Finding", "add_arguments", "check_machine", "check_requirements", "check_trio", "run"]

ABOUT = "Print versions, what does not match, and what to run then."
EXAMPLE = "interactrank doctor"
_COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}
_EXTRAS_OF_DEVELOPERS = ("all", "dev", "test")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    Args:
        name: what was looked at.
        text: what was found.
        state: ``ok``; ``warning`` for what is missing but not needed; ``error`` for what must be fixed.
        remedy: the command that helps.
    """

    name: str
    text: str
    state: str = "ok"
    remedy: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb; it has none."""


def run(options: argparse.Namespace) -> int:
    """Print the state of this installation, under any mismatch: check before importing.

    Returns:
        0 if the library can run, 1 if something has to be fixed first; a missing extra is not an error.
    """
    from rich.console import Console

    # Long lines stay whole: a command that is broken over two cannot be copied.
    console = Console(soft_wrap=True, highlight=False)
    errors = []
    for finding in _findings():
        if finding.state == "error":
            errors.append(finding)
        colour = _COLOURS[finding.state]
        console.print(f"[{colour}]{finding.state:<6}[/]", end="")
        console.print(f"{finding.name:<16}{finding.text}", markup=False)
        if finding.remedy:
            console.print(f"{'':22}run: {finding.remedy}", markup=False)
    if not errors:
        console.print("everything matches")
    elif _is_checkout():
        console.print("Or, in this checkout: make -B install", markup=False)
    return 1 if errors else 0


def _findings() -> Iterator[Finding]:
    yield Finding(name="interactrank", text=__version__)
    yield Finding(name="python", text=f"{platform.python_version()}, {platform.platform()}")
    trio = list(check_trio(Trio.installed()))
    yield from trio
    if all(finding.state != "error" for finding in trio):
        yield _check_import()
    try:
        requirements = metadata.requires("interactrank") or []
    except metadata.PackageNotFoundError:
        yield Finding(name="extras", text="interactrank itself was not installed by pip", state="warning")
    else:
        yield from check_requirements(requirements)
    yield from check_machine()


def check_trio(trio: Trio) -> Iterator[Finding]:
    """Yield the versions of torch, torchrec and FBGEMM, and whether they go together."""
    yield Finding(name="torch", text=trio.torch or "not installed")
    yield Finding(name="torchrec", text=trio.torchrec or "not installed")
    builds = {CUDA_BUILD: "CUDA build", CPU_BUILD: "CPU build"}
    found = [f"{version} ({builds[name]}, {name})" for name, version in trio.fbgemm.items()]
    yield Finding(name="fbgemm", text=" and ".join(found) or "not installed")
    problem = trio.problem()
    if problem:
        yield Finding(name="match", text=f"{problem}; {RULE}", state="error", remedy=trio.remedy())
    else:
        yield Finding(name="match", text=RULE)


def _check_import() -> Finding:
    try:
        for module in ("torch", "fbgemm_gpu", "torchrec"):
            import_module(module)
    except Exception as error:  # a broken library can raise anything
        trio = Trio.installed()
        pins = f"torch=={trio.pins['torch']} torchrec=={trio.pins['torchrec']}"
        build = next(iter(trio.fbgemm))
        return Finding(
            name="import",
            text=f"{module} does not load: {error}",
            state="error",
            remedy=f"pip install --force-reinstall --no-deps {pins} {build}=={trio.pins['fbgemm']}",
        )
    return Finding(name="import", text="torch, fbgemm_gpu and torchrec load")


def check_requirements(requirements: list[str]) -> Iterator[Finding]:
    """Yield what is installed of the requirements in this distribution's metadata, extra by extra.

    Args:
        requirements: such as ``duckdb>=1.1; extra == "data"``.
    """
    by_extra: dict[str, list[Requirement]] = defaultdict(list)
    for requirement in map(Requirement, requirements):
        extra = re.search(r'extra == "([^"]+)"', str(requirement.marker or ""))
        group = extra[1] if extra else ""
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": group})
        if applies and requirement.name not in ("torch", "torchrec", "fbgemm-gpu", "interactrank"):
            by_extra[group].append(requirement)
    for group, wanted in by_extra.items():
        if group not in _EXTRAS_OF_DEVELOPERS:
            yield _check_group(group, wanted)


def _check_group(extra: str, wanted: list[Requirement]) -> Finding:
    """Compare what one extra asks for, or all installations (``""``), with what is installed."""
    texts, unmet = [], []
    for requirement in wanted:
        version = version_of(requirement.name)
        text = f"{requirement.name} {version or 'not installed'}"
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(requirement)
            text += f" (needs {requirement.specifier})" if version and requirement.specifier else ""
        texts.append(text)
    name, text = f"extra {extra}" if extra else "requirements", ", ".join(texts)
    if not unmet:
        return Finding(name=name, text=text)
    if extra:
        return Finding(name=name, text=text, state="warning", remedy=f"pip install 'interactrank[{extra}]'")
    packages = " ".join(f"'{r.name}{r.specifier}'" if r.specifier else r.name for r in unmet)
    return Finding(name=name, text=text, state="error", remedy=f"pip install {packages}")


def check_machine() -> Iterator[Finding]:
    """Yield the GPUs that the driver shows and that torch can use."""
    gpus = _gpus()
    try:
        torch = import_module("torch")
        usable = bool(torch.cuda.is_available())
        built = torch.version.cuda
    except Exception:  # checked above
        usable, built = False, None
    if usable:
        yield Finding(name="CUDA", text=f"torch uses {torch.cuda.device_count()} GPU, CUDA {built}")
    elif gpus:
        text = f"{len(gpus)} GPU found, which this torch cannot use: " + (
            f"it is built for CUDA {built}; see the version that nvidia-smi shows" if built else "a CPU build"
        )
        remedy = "make -B install BUILD=cuda" if _is_checkout() else None
        yield Finding(name="CUDA", text=text, state="warning", remedy=remedy)
    else:
        yield Finding(name="CUDA", text="no GPU found: training and serving run on the CPU")


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.stdout.splitlines() if listed.returncode == 0 else []


def _is_checkout() -> bool:
    return (Path(__file__).parents[2] / "packaging" / "install.sh").exists()

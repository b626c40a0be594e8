"""Whether the installed torch, torchrec and FBGEMM go together, read from metadata without importing them.

Builds of different releases fail deep inside with an undefined symbol; :func:`check` says it in a sentence.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.version import InvalidVersion, Version

from interactrank.core.errors import UserError
from interactrank.core.installed import version_of

__all__ = ["NEWEST", "PINNED", "RULE", "IncompatibleVersionsError", "Trio", "check", "started_as_command"]

PINNED = {"torch": "2.13.0", "torchrec": "1.8.0", "fbgemm": "1.8.0"}
"""The trio that set-up installs and the tests run with."""

NEWEST = {"torch": "2.14.1", "torchrec": "1.9.2", "fbgemm": "1.9.0"}
"""The newest trio that is allowed; ``make test-newest`` runs with it."""

RULE = "torchrec 1.X and FBGEMM 1.X go with torch 2.(X+5)"
CUDA_BUILD, CPU_BUILD = "fbgemm-gpu", "fbgemm-gpu-cpu"
_UNKNOWN = "of an unknown version"


class IncompatibleVersionsError(UserError, ImportError):
    """Torch, torchrec and FBGEMM do not go together; the message gives the command that helps."""


@dataclass(frozen=True, kw_only=True)
class Trio:
    """What is installed of torch, torchrec and FBGEMM.

    Args:
        torch: its version; None if it is not installed.
        torchrec: its version; None if it is not installed.
        fbgemm: distribution -> version of the builds of FBGEMM: ``fbgemm-gpu`` (CUDA), ``fbgemm-gpu-cpu``.

    Example::

        >>> trio = Trio(torch="2.14.1", torchrec="1.8.0", fbgemm={"fbgemm-gpu-cpu": "1.8.0"})
        >>> trio.problem()
        'torch 2.14.1, torchrec 1.8.0 and fbgemm-gpu-cpu 1.8.0 do not go together'
        >>> trio.remedy()
        'pip install --no-deps torchrec==1.9.2 fbgemm-gpu-cpu==1.9.0'
    """

    torch: str | None = None
    torchrec: str | None = None
    fbgemm: dict[str, str] = field(default_factory=dict)

    @classmethod
    def installed(cls) -> Trio:
        """Return the trio of this environment."""
        return cls(torch=_version("torch"), torchrec=_version("torchrec"), fbgemm=_fbgemm_builds())

    def problem(self) -> str | None:
        """Return what is wrong, as the first half of a sentence; None if all is well.

        A version that is not a plain release number (a nightly or a source build) is not checked.
        """
        found = {"torch": self.torch, "torchrec": self.torchrec, "FBGEMM": " ".join(self.fbgemm.values())}
        missing = [name for name, version in found.items() if not version]
        if missing:
            return f"{_list(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        builds = [f"{name} {version}" for name, version in self.fbgemm.items()]
        if len(builds) > 1:
            return f"{_list(builds)} are both installed and overwrite each other's files"
        if self._cuda_build_on_cpu_torch():
            return f"{builds[0]} is a CUDA build and torch {self.torch} is not"
        wanted = {_release(self.torch), _torch_of(self.torchrec), *map(_torch_of, self.fbgemm.values())}
        if len(wanted - {None}) > 1:
            return (
                f"{_list([f'torch {self.torch}', f'torchrec {self.torchrec}', *builds])} do not go together"
            )
        return None

    @property
    def pins(self) -> dict[str, str]:
        """The trio to install: torch decides which, as it is by far the largest download."""
        return NEWEST if _release(self.torch) == _release(NEWEST["torch"]) else PINNED

    def remedy(self) -> str:
        """Return the command that installs what differs from :attr:`pins`."""
        pins = self.pins
        steps, bare = [], []
        wrong_build = len(self.fbgemm) > 1 or self._cuda_build_on_cpu_torch()
        if wrong_build:
            steps.append(f"pip uninstall -y {CUDA_BUILD} {CPU_BUILD}")
        if _differs(self.torch, pins["torch"]):
            steps.append(f"pip install torch=={pins['torch']}")
        if _differs(self.torchrec, pins["torchrec"]):
            bare.append(f"torchrec=={pins['torchrec']}")
        version = next(iter(self.fbgemm.values()), None)
        if wrong_build or _differs(version, pins["fbgemm"]):
            bare.append(f"{self._fitting_build()}=={pins['fbgemm']}")
        if bare:
            # With its dependencies torchrec would bring the newest CUDA build of FBGEMM.
            steps.append(f"pip install --no-deps {' '.join(bare)}")
        return " && ".join(steps)

    def _cuda_build_on_cpu_torch(self) -> bool:
        return CUDA_BUILD in self.fbgemm and self._is_cpu_torch()

    def _is_cpu_torch(self) -> bool:
        return self.torch is not None and self.torch.endswith("+cpu")

    def _fitting_build(self) -> str:
        if len(self.fbgemm) == 1 and not self._cuda_build_on_cpu_torch():
            return next(iter(self.fbgemm))
        return CPU_BUILD if self._is_cpu_torch() or shutil.which("nvidia-smi") is None else CUDA_BUILD


def check() -> None:
    """Refuse a trio that does not go together.

    Raises:
        IncompatibleVersionsError: one sentence: what is installed, what goes together, what to run.
    """
    trio = Trio.installed()
    problem = trio.problem()
    if problem:
        raise IncompatibleVersionsError(f"{problem}: {RULE}; run: {trio.remedy()}")


def started_as_command() -> bool:
    """Return whether this process is the command line, which runs ``doctor`` also under a mismatch."""
    return Path(next(iter(sys.argv), "")).stem == "interactrank" or "interactrank.cli" in sys.orig_argv


def _version(name: str) -> str | None:
    return version_of(name) or (_UNKNOWN if find_spec(name) else None)


def _fbgemm_builds() -> dict[str, str]:
    builds = {}
    for name in (CUDA_BUILD, CPU_BUILD):
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        # Without code: packaging/fbgemm-gpu-cpu, which only stands in for the name that torchrec requires.
        if any(file.parts[0] == "fbgemm_gpu" for file in distribution.files or ()):
            # Some indexes have the CPU build under the name of the CUDA one, as 1.8.0+cpu.
            builds[CPU_BUILD if distribution.version.endswith("+cpu") else name] = distribution.version
    if not builds and find_spec("fbgemm_gpu"):
        builds[CUDA_BUILD] = _UNKNOWN
    return builds


def _release(version: str | None) -> tuple[int, int] | None:
    """Return major and minor number; None for anything but a release, such as a nightly or a source build."""
    try:
        parsed = Version(version or "")
    except InvalidVersion:
        return None
    return None if parsed.is_prerelease else (parsed.major, parsed.minor)


def _torch_of(version: str | None) -> tuple[int, int] | None:
    """Return the release of torch that a release of torchrec or FBGEMM goes with: 2.13 for 1.8."""
    release = _release(version)
    return None if release is None else (release[0] + 1, release[1] + 5)


def _differs(version: str | None, pinned: str) -> bool:
    return version is None or _release(version) not in (None, _release(pinned))


def _list(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

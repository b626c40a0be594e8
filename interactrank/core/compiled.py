"""Compiled: functions in C++, built once for the processor at hand; without a compiler Python does the same.

Plain C functions are called through ctypes: building them takes two seconds, an extension of PyTorch half a
minute, and they know nothing of its version.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from pathlib import Path

from interactrank.core.files import atomic_write

__all__ = ["ANY_ORDER", "OFF", "load_compiled"]

logger = logging.getLogger(__name__)

OFF = "INTERACTRANK_NO_KERNEL"  # set: nothing is compiled
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-ffp-contract=off")
# Sums may be added in any order, which vector instructions need. Not -ffast-math: a library that is linked
# with it makes the whole process flush subnormal numbers to zero.
ANY_ORDER = ("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-ffp-contract=fast")


def load_compiled(source: Path, flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """Return the library of a source, which is built when it is first asked for; None without a compiler.

    Args:
        source: C++17, whose functions are ``extern "C"``; it may include headers of its folder.
        flags: more of the compiler's, such as :data:`ANY_ORDER`.
    """
    if os.environ.get(OFF):
        return None
    try:
        return ctypes.CDLL(str(_built(source, (*_FLAGS, *flags))))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("working without %s, which is slower: no library could be built (%s)", source.name, error)
        return None


def _built(source: Path, flags: tuple[str, ...]) -> Path:
    """Return the library, of this source, compiler and processor."""
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise OSError(f"there is no C++ compiler '{compiler}'; install g++")
    texts = [source, *sorted(source.parent.glob("*.h"))]
    what = [*(path.read_text() for path in texts), compiler, *flags, _processor()]
    name = hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interactrank"
    path = folder / f"{source.stem}-{name}.so"
    if not path.exists():

        def build(temporary: Path) -> None:
            command = [compiler, *flags, str(source), "-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, timeout=120)

        atomic_write(path, build)
    return path


def _processor() -> str:
    """Return what -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

"""Manifests: the files of a directory with sizes and SHA-256, and what else is recorded of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interactrank.core.errors import UserError
from interactrank.core.files import atomic_write_text, sha256
from interactrank.core.parallel import cores, in_order

__all__ = ["MANIFEST", "Manifest", "ManifestError", "describe"]

MANIFEST = "manifest.json"


class ManifestError(UserError, ValueError):
    """A manifest that is missing, unreadable or changed; the message names it."""


@dataclass(frozen=True)
class Manifest:
    """The record of a complete directory, which is written last.

    Args:
        facts: what else is recorded, such as a format number; JSON.
        files: name relative to the directory, with ``/`` -> ``bytes``, ``sha256`` and what else is recorded
            of the file.

    Example::

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a").write_bytes(b"123")
        ...     Manifest.of(Path(folder), {"format": 1}).write(Path(folder))
        ...     manifest = Manifest.read(Path(folder))
        ...     _ = (Path(folder) / "a").write_bytes(b"12")
        ...     manifest.files["a"]["bytes"], manifest.damage(Path(folder)).removeprefix(f"'{folder}/")
        (3, "a' has 2 bytes instead of 3")
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, Any]) -> Manifest:
        """Return the manifest of all files within a directory; each is read once."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        found = in_order(describe, paths, cores())
        return cls(facts, {p.relative_to(folder).as_posix(): of for p, of in zip(paths, found, strict=True)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a directory.

        Raises:
            ManifestError: it is missing, is not a manifest, or differs from its own checksum.
        """
        path = folder / MANIFEST
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            files = facts.pop("files")
            for name, of in files.items():
                if not isinstance(of["bytes"], int) or not isinstance(of["sha256"], str):
                    raise ValueError(f"size and checksum of '{name}'")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"'{path}' is not a readable manifest ({error})") from error
        seal = facts.pop("sha256", None)
        manifest = cls(facts, files)
        if seal is not None and seal != manifest._seal():
            raise ManifestError(f"'{path}' has changed since it was written")
        return manifest

    def write(self, folder: Path, *, seal: bool = False) -> None:
        """Write the manifest whole or not at all.

        Args:
            folder: the directory, in which all files are complete by now.
            seal: add the manifest's own SHA-256, which :meth:`read` then checks.
        """
        atomic_write_text(folder / MANIFEST, json.dumps(self.to_json(seal=seal), indent=1) + "\n")

    def to_json(self, *, seal: bool = False) -> dict[str, Any]:
        """Return the content of the manifest's file: the facts, ``files`` and, if sealed, ``sha256``."""
        return {**self.facts, "files": dict(self.files), **({"sha256": self._seal()} if seal else {})}

    def damage(
        self, folder: Path, *, checksums: bool = False, names: Iterable[str] | None = None
    ) -> str | None:
        """Return how the first damaged file differs from the manifest, or None; other files are ignored.

        Args:
            folder: the directory.
            checksums: read the files, too; else only their sizes are compared.
            names: the files to look at, such as a rank's share; all of them by default.
        """
        for name in self.files if names is None else names:
            expected, path = self.files[name], folder / name
            if not path.is_file():
                return f"'{path}' is missing"
            if (size := path.stat().st_size) != expected["bytes"]:
                return f"'{path}' has {size:,} bytes instead of {expected['bytes']:,}"
            if checksums and sha256(path) != expected["sha256"]:
                return f"'{path}' has changed since it was written (SHA-256)"
        return None

    def entries(self) -> set[str]:
        """Return the names that the directory itself holds: of its files, its directories and the manifest.

        Example::

            >>> sorted(Manifest(files={"train/0.parquet": {}, "items.parquet": {}}).entries())
            ['items.parquet', 'manifest.json', 'train']
        """
        return {name.partition("/")[0] for name in self.files} | {MANIFEST}

    def _seal(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def describe(path: Path) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of a file, as a manifest records them."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}

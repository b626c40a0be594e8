"""The folder of an export: its versions, which one is current, and what lies in one.

::

    current.json              {"version": ...}: the version that is served
    versions/VERSION/
      manifest.json           format, model, dataset, versions, checksums of all files
      model.safetensors       the whole model: query side, item tower, projection
      vectors/                of the catalogue: float32, float16 or int8 with a scale a row
      items/ids.arrow         item ids, in order of their rows
      items/event_ids         rows of the ID table of ``sequence.item``, one an item
      items/fields/NAME/      values of each id feature, for filters
      vocabulary/, users/, cross_features/, item_fields/      as in the dataset

A version is written whole or not at all, then ``current.json`` is renamed into place. So a reader sees the
old version or the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interactrank.batch.layout import BatchLayout
from interactrank.core.files import atomic_write_text
from interactrank.core.manifest import Manifest
from interactrank.core.settings import parse_config
from interactrank.cross_features.registry import KINDS
from interactrank.schema import SearchSchema
from interactrank.serving.errors import ArtifactError

__all__ = [
    "ARTIFACT_FORMAT",
    "CURRENT",
    "EVENT_IDS",
    "FIELDS_OF_ITEMS",
    "IDS",
    "VECTORS",
    "WEIGHTS",
    "Version",
]

ARTIFACT_FORMAT = 1
CURRENT, VERSIONS = "current.json", "versions"
WEIGHTS, VECTORS = "model.safetensors", "vectors"
IDS, EVENT_IDS, FIELDS_OF_ITEMS = "items/ids.arrow", "items/event_ids", "items/fields"


class Version:
    """One version of an export, opened.

    Args:
        folder: of the version.

    Attributes:
        facts: what its manifest says.
        schema: what the columns of a request mean.

    Raises:
        ArtifactError: it is incomplete, damaged, of another format or needs a cross feature that is not
            there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            manifest = Manifest.read(folder)
        except ValueError as error:
            raise ArtifactError(f"'{folder}' is not a complete export ({error}); export again") from None
        self.facts: dict[str, Any] = dict(manifest.facts)
        found = self.facts.get("artifact_format")
        if found != ARTIFACT_FORMAT:
            raise ArtifactError(f"'{folder}' has format {found}, not {ARTIFACT_FORMAT}; export again")
        if (damage := manifest.damage(folder)) is not None:
            raise ArtifactError(f"{damage}; copy the export again, or export again")
        self.manifest = manifest
        dataset = self.facts["dataset"]
        for kind, of in dataset["cross_features"].items():
            if kind not in KINDS:
                raise ArtifactError(
                    f"'{folder}' has cross features of the kind '{kind}', which '{of['module']}' registers; "
                    "import that module first"
                )
        self.schema = parse_config(SearchSchema, dataset["schema"], f"{folder}/manifest.json")

    @property
    def name(self) -> str:
        """Such as ``20120901T063000-1f2e3d4c``: the time of the last event, and a hash of the content."""
        return self.folder.name

    @property
    def event_time(self) -> int:
        """Milliseconds of the last event that the histories have."""
        return int(self.facts["event_time"])

    @property
    def layout(self) -> BatchLayout:
        """Where features lie in a batch of the model."""
        dataset = self.facts["dataset"]
        return BatchLayout(self.schema, dataset["tables"], dataset["items"], dataset["numbers"])

    def note(self, key: str, value: Any) -> None:
        """Add a fact to the manifest, such as what a verification found."""
        self.facts[key] = value
        self.manifest = Manifest(self.facts, self.manifest.files)
        self.manifest.write(self.folder, seal=True)

    @classmethod
    def current(cls, artifact: Path) -> Version:
        """Open the version that is served.

        Raises:
            ArtifactError: ``artifact`` is not an export, or its version cannot be opened.
        """
        name = current_name(artifact)
        if name is None:
            raise ArtifactError(
                f"'{artifact}' is not an export (no readable {CURRENT}); run interactrank export"
            )
        return cls(version_folder(artifact, name))


def version_folder(artifact: Path, name: str) -> Path:
    """Return the folder of a version."""
    return artifact / VERSIONS / name


def current_name(artifact: Path) -> str | None:
    """Return the name of the version that is served; None without one."""
    try:
        name = json.loads((artifact / CURRENT).read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and "/" not in name else None


def publish(artifact: Path, name: str) -> None:
    """Serve a version from now on."""
    atomic_write_text(artifact / CURRENT, json.dumps({"version": name}) + "\n")

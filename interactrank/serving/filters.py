"""Which items of the catalogue a request may have: lists of ids, and values of their fields, as masks.

Shapes: N items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from interactrank.core.ids import id_text
from interactrank.core.settings import near
from interactrank.cross_features.features import FIELDS
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import row_of_each
from interactrank.cross_features.text import hash63, normalize
from interactrank.serving.artifact import FIELDS_OF_ITEMS
from interactrank.serving.errors import RequestError
from interactrank.serving.item_ids import ItemIds

__all__ = ["Filters"]


class Filters:
    """Makes masks of a catalogue; make one once and hand it to many requests.

    Args:
        folder: of a version.
        ids: of the catalogue.
    """

    def __init__(self, folder: Path, ids: ItemIds) -> None:
        self._ids = ids
        folders = {**_folders(folder / FIELDS_OF_ITEMS), **_folders(folder / FIELDS)}
        self._fields = {name: ItemFields.open(path) for name, path in folders.items()}

    @property
    def fields(self) -> list[str]:
        """Names by whose values items can be chosen."""
        return list(self._fields)

    def mask(
        self,
        *,
        allowed: Sequence[str] | None = None,
        blocked: Sequence[str] = (),
        where: Mapping[str, Sequence[Any]] | None = None,
    ) -> NDArray[np.bool_]:
        """Return [N] which items remain.

        Args:
            allowed: ids of the only items that may; None for all. Unknown ids are ignored.
            blocked: ids of items that may not.
            where: field -> values; an item must have one of them in each field.

        Raises:
            RequestError: there is no such field.
        """
        mask = np.ones(len(self._ids), bool)
        if allowed is not None:
            mask[:] = False
            rows = self._ids.rows(allowed)
            mask[rows[rows >= 0]] = True
        if blocked:
            rows = self._ids.rows(blocked)
            mask[rows[rows >= 0]] = False
        for name, values in (where or {}).items():
            mask &= self._has_value(name, values)
        return mask

    def _has_value(self, name: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        if name not in self._fields:
            raise RequestError(f"items have no field '{name}' to choose by{near(name, self.fields)}")
        if isinstance(values, str):
            raise RequestError(f"where: give the values of '{name}' as a list, such as ['{values}']")
        fields = self._fields[name]
        wanted = np.isin(fields.hashes, [hash63(normalize(id_text(v) or "")) for v in values])
        found = np.zeros(len(self._ids), bool)
        found[row_of_each(fields.values)[wanted[fields.values.values]]] = True
        return found


def _folders(folder: Path) -> dict[str, Path]:
    return {unquote(path.name): path for path in sorted(folder.iterdir())} if folder.is_dir() else {}

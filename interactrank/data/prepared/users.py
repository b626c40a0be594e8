"""Users: what a dataset knows of each user at the end of its log; live requests are read with it.

Shapes: R requests, U users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactrank.cross_features.pair_index import Int64s
from interactrank.cross_features.text import hash63
from interactrank.data.extras import pa
from interactrank.data.prepared.user_sequences import UserSequences

__all__ = ["SEQUENCES", "USERS", "Users"]

USERS = "users"  # folder of a dataset
SEQUENCES = f"{USERS}/sequences"
_KEYS, _ROWS, _TABLE = "keys", "rows", "table.arrow"


class Users:
    """The users of a log: their sequences, and their rows of the users file.

    Args:
        folder: of a dataset, or of an export; files are mapped, not read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / USERS
        self._sequences = folder / SEQUENCES

    def open(self) -> Users:
        """Map all files now, so that the folder may be deleted while they are in use; return itself."""
        _ = self.sequences, self._keys, self._rows, self._table
        return self

    @cached_property
    def sequences(self) -> UserSequences | None:
        """Return the engagements of all users; None if the schema has no sequence."""
        return UserSequences.open(self._sequences) if self._sequences.exists() else None

    def rows(self, users: Sequence[str | None]) -> Int64s:
        """Return [R] the row of each user in :attr:`sequences`; -1 for one who is not in the log."""
        if not len(self._keys):
            return np.full(len(users), -1)
        at, found = _search(self._keys, users)
        return np.where(found, self._rows[at], -1)

    def table(self, users: Sequence[str | None]) -> pa.Table | None:
        """Return a row of the users file for each of R users, nulls for an unknown one; None without a file.

        Columns are those of the staged table ``users`` that features and segments need.
        """
        if self._table is None:
            return None
        keys = self._table["key"].to_numpy()
        at, found = _search(keys, users) if len(keys) else (np.zeros(len(users), np.int64), np.zeros(0, bool))
        rows = pa.array(at, mask=~found) if len(keys) else pa.nulls(len(users), pa.int64())
        return self._table.drop_columns(["key"]).take(rows)

    @cached_property
    def _keys(self) -> Int64s:
        return _read(self.folder / _KEYS)

    @cached_property
    def _rows(self) -> Int64s:
        return _read(self.folder / _ROWS)

    @cached_property
    def _table(self) -> pa.Table | None:
        path = self.folder / _TABLE
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all() if path.exists() else None

    @staticmethod
    def write(folder: Path, users: Iterable[str], table: pa.Table | None) -> None:
        """Write who the users are into a dataset's folder; their sequences are written apart.

        Args:
            folder: of the dataset.
            users: in the order of their rows.
            table: of the users file, with a column ``user``; None without a file.
        """
        target = folder / USERS
        target.mkdir(parents=True, exist_ok=True)
        keys = np.fromiter((hash63(u) for u in users), np.int64)
        order = np.argsort(keys, kind="stable")
        keys[order].astype("<i8").tofile(target / _KEYS)
        order.astype("<i8").tofile(target / _ROWS)
        if table is not None:
            key = np.fromiter((hash63(u) for u in table["user"].to_pylist()), np.int64, len(table))
            by_key = np.argsort(key, kind="stable")
            sorted_table = table.drop_columns(["user"]).take(by_key)
            with pa.OSFile(str(target / _TABLE), "wb") as file:
                whole = sorted_table.append_column("key", pa.array(key[by_key])).combine_chunks()
                with pa.ipc.new_file(file, whole.schema) as writer:
                    writer.write_table(whole)


def _search(keys: Int64s, users: Sequence[str | None]) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return the position of each user's key, and whether it is there."""
    wanted = np.fromiter((-1 if u is None else hash63(u) for u in users), np.int64, len(users))
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, np.asarray(keys[at] == wanted)


def _read(path: Path) -> NDArray[Any]:
    if not path.exists() or not path.stat().st_size:
        return np.empty(0, np.int64)
    return np.asarray(np.memmap(path, "<i8", "r"))

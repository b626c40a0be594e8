"""forget and compact: a user leaves a dataset without a trace; the files of many days become one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.manifest import Manifest
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.prepare.append import open_growing, replace_dataset
from interactrank.data.prepare.kept_log import EVENTS, LOG, link_file, text_of
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.raw.files import files_at
from interactrank.data.raw.sql import identity, literal
from interactrank.data.raw.table import RawTable
from interactrank.data.settings import PrepareSettings

__all__ = ["compact_dataset", "forget_user"]

logger = logging.getLogger(__name__)


def forget_user(dataset: Path, user: str) -> dict[str, Any]:
    """Remove a user's events and row of the users file from a dataset, and all that followed from them.

    Histories, sequences, requests, counts and labels are those of a log in which the user never was. A value
    of a vocabulary that nobody else has had is forgotten, too: its row stays, and stands for nothing. The
    statistics by which number features are normalised stay, and models that were trained before know what
    they have learned; train them again.

    Args:
        dataset: that keeps its log.
        user: id of the user.

    Returns:
        The manifest.

    Raises:
        DatasetError: the dataset keeps no log, names no users, or does not know this one; or nothing would be
            left to train on. The dataset then stays as it was.
    """
    old = open_growing(dataset)
    column, log = old.schema.events.user, old.folder / LOG
    if column is None:
        raise DatasetError(f"'{dataset}' names no users (schema.events.user); there is none to forget")
    tables = [(path, column) for path in sorted((log / EVENTS).glob("*.parquet"))]
    if old.schema.users is not None:
        tables.append((log / "users.parquet", old.schema.users.id))
    with duckdb.connect() as db:
        found = {path: _rows_of(db, path, name, user) for path, name in tables}
    if not any(found.values()):
        raise DatasetError(f"'{dataset}' has no user {user!r}; ids are compared as text")

    def write(target: Path) -> None:
        (target / EVENTS).mkdir(parents=True)
        kept = [p for p in sorted(log.rglob("*.parquet")) if not found.get(p)]
        for path in kept:
            link_file(path, target / path.relative_to(log))
        with duckdb.connect() as db:
            for path, name in tables:
                if found[path]:
                    _without(db, path, name, user, target / path.relative_to(log))

    settings = PrepareSettings.model_validate(old.manifest["settings"])
    logger.info("forgetting %s rows of the user", f"{sum(found.values()):,}")
    return replace_dataset(old, write, settings, what="forget", segment=None, forget=True)


def compact_dataset(dataset: Path) -> dict[str, Any]:
    """Make one file of the events of all days that were appended; nothing else changes.

    Args:
        dataset: that keeps its log.

    Returns:
        The manifest.

    Raises:
        DatasetError: the dataset keeps no log.
    """
    old = open_growing(dataset)
    segments = sorted((old.folder / LOG / EVENTS).glob("*.parquet"))
    if len(segments) == 1:
        logger.info("'%s' has one file of events already", dataset)
        return old.manifest
    output = Path(os.path.abspath(dataset))
    facts = {key: value for key, value in old.manifest.items() if key != "files"}
    names = list(old.manifest["files"])
    with atomic_directory(output, replaces=Manifest(files=old.manifest["files"]).entries()) as staging:
        for name in names:
            if not name.startswith(f"{LOG}/{EVENTS}/"):
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                link_file(output / name, staging / name)
        (staging / LOG / EVENTS).mkdir(parents=True)
        with duckdb.connect() as db:
            table = RawTable.of(db, files_at(output / LOG / EVENTS), EVENTS)
            target = text_of(staging / LOG / EVENTS / segments[0].name)
            db.execute(f"COPY ({table.rows(table.types)}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
        result = Manifest.of(staging, facts)
        result.write(staging)
    logger.info("one file of events instead of %d: %s", len(segments), dataset)
    return PreparedDataset(dataset).manifest


def _is_user(db: duckdb.DuckDBPyConnection, path: Path, column: str, user: str) -> tuple[RawTable, str]:
    table = RawTable.of(db, files_at(path), EVENTS)
    return table, f"{identity(column, table.types[column])} IS NOT DISTINCT FROM {literal(user)}"


def _rows_of(db: duckdb.DuckDBPyConnection, path: Path, column: str, user: str) -> int:
    table, condition = _is_user(db, path, column, user)
    rows = f"SELECT count(*) FROM ({table.rows(table.types)}) WHERE {condition}"
    return int(db.execute(rows).fetchone()[0])


def _without(db: duckdb.DuckDBPyConnection, path: Path, column: str, user: str, target: Path) -> None:
    table, condition = _is_user(db, path, column, user)
    rows = f"SELECT * FROM ({table.rows(table.types)}) WHERE NOT ({condition})"
    db.execute(f"COPY ({rows}) TO {text_of(target)} (FORMAT parquet, COMPRESSION zstd)")

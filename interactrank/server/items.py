"""New and changed items: embedded by the item tower, then a version of the export that has them."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interactrank.core.ids import id_text
from interactrank.data.extras import pa, pq
from interactrank.schema import SearchSchema
from interactrank.server.answers import json_answer
from interactrank.server.failures import Refusal, busy
from interactrank.server.served import Served
from interactrank.server.service import Service
from interactrank.server.validation import JSON, content_type, invalid, read_body, validated
from interactrank.serving import ArtifactError, Version, refresh_items
from interactrank.serving.artifact import current_name, version_folder

__all__ = ["ItemWriter", "item_table", "remove_superseded"]

_TRIES = 3
_KEPT_VERSIONS = 3
_YOUNG = 60.0
"""Seconds in which a worker may still open a version."""


class ItemWriter:
    """The endpoint ``/items``.

    Args:
        service: whose exports get the items.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._one = asyncio.Lock()

    async def write(self, request: Request) -> Response:
        """Add or replace items, and answer when this worker ranks them; other workers follow at once."""
        content_type(request, (JSON,))
        body = await read_body(request, self._service.settings.limits.body_bytes)
        models = self._service.models
        first = models.served[models.names[0]].opened
        asked = validated(first.written.items, body).model_dump(by_alias=True)
        done = {}
        async with self._one:
            for served in models:
                validated(served.opened.written.items, body)
                version = await asyncio.to_thread(_refresh, served, asked["items"])
                await asyncio.to_thread(served.swap)
                if served.refused is not None:
                    raise Refusal(503, "refused", f"the version with the items is refused: {served.refused}")
                done[served.name] = {"version": version.name, **_counts(version)}
        return json_answer({"models": done})


def item_table(schema: SearchSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return items as a table with the columns of the log's items file.

    Args:
        schema: of the export.
        rows: of the items file.

    Raises:
        Refusal: an id is there twice.
    """
    key = schema.items.id
    ids = [id_text(row[key]) or "" for row in rows]
    for n, item in enumerate(ids):
        if item in ids[:n]:
            raise invalid(f"items.{n}.{key}", f"items.{n}.{key}: '{item}' is there twice; keep one")
    kinds = {f.column: f.kind for f in schema.features.item}
    columns: dict[str, Any] = {key: pa.array(ids, pa.string())}
    for name in rows[0]:
        if name != key:
            columns[name] = _column([row[name] for row in rows], kinds.get(name))
    return pa.table(columns)


def _column(values: list[Any], kind: str | None) -> pa.Array:
    """Return values as those of a feature: numbers, vectors, or texts, in lists if one is a list.

    Example::

        >>> _column([7, ["a"], None], "id").to_pylist(), _column([True, 0.5], "number").to_pylist()
        ([['7'], ['a'], None], [1.0, 0.5])
    """
    if kind == "number":
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if kind == "vector":
        return pa.array(values, pa.list_(pa.float32()))
    if any(isinstance(v, list) for v in values):
        lists = [v if v is None or isinstance(v, list) else [v] for v in values]
        return pa.array(
            [None if v is None else [id_text(of) for of in v] for v in lists], pa.list_(pa.string())
        )
    return pa.array([id_text(v) for v in values], pa.string())


def _refresh(served: Served, rows: Sequence[Mapping[str, Any]]) -> Version:
    """Publish a version with the items.

    Raises:
        Refusal: other versions are published all the time.
    """
    table = item_table(served.opened.ranker.schema, rows)
    with _locked(served.export), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        pq.write_table(table, path)
        for _ in range(_TRIES):
            before = current_name(served.export)
            try:
                version = refresh_items(served.export, path)
            except ArtifactError:
                if current_name(served.export) == before:
                    raise
                continue  # another version was published meanwhile
            remove_superseded(served.export)
            return version
    raise busy("the export changes all the time; ask again later")


@contextmanager
def _locked(export: Path) -> Iterator[None]:
    """Hold the export, so that workers add items one after the other."""
    with (export / ".items.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_superseded(export: Path) -> None:
    """Delete versions that only added items to others, all but the current and the last few.

    Args:
        export: folder of the export.
    """
    current = current_name(export)
    folders = [folder for folder in version_folder(export, "").iterdir() if folder.name != current]
    refreshed = []
    for folder in folders:
        try:
            if "refreshed" in Version(folder).facts:
                refreshed.append((folder.stat().st_mtime, folder))
        except (ArtifactError, OSError):
            continue
    for modified, folder in sorted(refreshed)[: -_KEPT_VERSIONS + 1]:
        if time.time() - modified > _YOUNG:
            shutil.rmtree(folder, ignore_errors=True)


def _counts(version: Version) -> dict[str, int]:
    done = version.facts["refreshed"]
    return {"new": done["new"], "changed": done["changed"]}

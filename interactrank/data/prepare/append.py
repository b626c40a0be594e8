"""append: a day's events become part of a dataset.

The dataset keeps its log (``prepare.keep_log``). Appending writes the grown log and all that follows from it
into a new folder next to the old one, and then swaps the two. So the result is what preparing the whole log
gives, late events land at their own time, and whoever is killed leaves the old dataset. What models depend on
stays as it was: values keep their rows of ID tables, items their places, number features their statistics.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.manifest import Manifest
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pq
from interactrank.data.prepare.kept_log import (
    EVENTS,
    LOG,
    casts,
    copy_events,
    merge_rows,
    named_columns,
    same_types,
)
from interactrank.data.prepare.prepare import Earlier, content_of, prepare_into
from interactrank.data.prepare.remarks import log_remarks
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.prepared.manifest import FORMAT
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.files import DataFile, files_at, find_files, has_table
from interactrank.data.raw.items import stage_items
from interactrank.data.raw.place import Place
from interactrank.data.raw.sql import first_line, quote, text
from interactrank.data.raw.table import RawTable
from interactrank.data.raw.time_units import UNIT_NAMES, as_milliseconds, time_unit
from interactrank.data.raw.users import stage_users
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema
from interactrank.version import __version__

__all__ = ["append_log", "open_growing", "replace_dataset"]

logger = logging.getLogger(__name__)


def append_log(day: Path, dataset: Path, schema: SearchSchema, settings: PrepareSettings) -> dict[str, Any]:
    """Make the events of a day, or of any time, part of a dataset.

    Args:
        day: folder with ``events``, ``items`` and ``users`` that are new or have changed, or some of the
            three; files as of a log.
        dataset: that :func:`~interactrank.data.prepare_log` wrote with ``prepare.keep_log``.
        schema: of the dataset.
        settings: how to prepare; splits are cut again, over the whole log.

    Returns:
        The manifest. A day that is part of the dataset already changes nothing.

    Raises:
        DatasetError: the dataset keeps no log or has another schema; the day has nothing, other columns or
            types, events of the future, or events that are in the dataset; or it cannot be prepared. The
            dataset then stays as it was.
    """
    old = open_growing(dataset, schema)
    place = Place.of(day)
    known = [EVENTS, "items", *(["users"] if schema.users else [])]
    names = [n for n in known if has_table(place, n)] or [EVENTS]
    content, segments = content_of(day, names), old.manifest["segments"]
    # Items may change back to what they were, events cannot.
    again = any(content == s["content"] for s in (segments if EVENTS in names else segments[-1:]))
    settings = settings.model_copy(update={"keep_log": True})
    if again and settings == PrepareSettings.model_validate(old.manifest["settings"]):
        logger.info("'%s' is part of '%s' already; nothing has changed", day, dataset)
        return old.manifest
    new = {} if again else {name: find_files(place, name) for name in names}
    if new:
        _check_day(old.folder / LOG, place, new, schema)

    def grow(log: Path) -> None:
        copy_events(old.folder / LOG, log, new.get("events", []), schema)
        for name in ["items", *(["users"] if schema.users else [])]:
            merge_rows(old.folder / LOG, log, name, new.get(name, []), schema)

    return replace_dataset(old, grow, settings, what=content, segment=None if again else content)


def open_growing(dataset: Path, schema: SearchSchema | None = None) -> PreparedDataset:
    """Open a dataset that can grow.

    Raises:
        DatasetError: it is not a dataset, keeps no log, or has another schema.
    """
    opened = PreparedDataset(dataset)
    if "segments" not in opened.manifest:
        raise DatasetError(
            f"'{dataset}' keeps no log, to which a day could be added; prepare it with prepare.keep_log=true"
        )
    if schema is not None and schema != opened.schema:
        raise DatasetError(f"'{dataset}' was prepared with another schema than this config's; use its own")
    return opened


def replace_dataset(
    old: PreparedDataset,
    write_log: Any,
    settings: PrepareSettings,
    *,
    what: Any,
    segment: Mapping[str, Any] | None,
    forget: bool = False,
) -> dict[str, Any]:
    """Prepare another log of a dataset's lineage in its place, whole or not at all.

    Args:
        old: the dataset.
        write_log: called with the folder for the log.
        settings: how to prepare it.
        what: anything in JSON's types that tells this change from others.
        segment: content of the files that were added; None for no segment more.
        forget: whether values of vocabularies that the log no longer has are forgotten.

    Returns:
        The manifest.
    """
    manifest = old.manifest
    lineage = manifest["lineage"]
    how = [lineage[-1], __version__, settings.model_dump(exclude={"memory_limit", "threads"}), what]
    fingerprint = hashlib.sha256(json.dumps(how).encode()).hexdigest()
    known = {name: old.vocabulary(name) for name in old.schema.tables}
    output = Path(os.path.abspath(old.folder))
    with atomic_directory(output, replaces=Manifest(files=manifest["files"]).entries()) as staging:
        write_log(staging / LOG)
        earlier = Earlier(known, manifest["numbers"], forget)
        facts: dict[str, Any] = {"format": FORMAT, "version": __version__, "fingerprint": fingerprint}
        facts |= prepare_into(staging, staging / LOG, old.schema, settings, earlier)
        segments = list(manifest["segments"])
        if segment is not None:
            last = max((staging / LOG / EVENTS).glob("*.parquet"))
            rows = pq.read_metadata(last).num_rows if EVENTS in segment else 0
            segments.append({"events": rows, "content": segment})
        facts |= {"lineage": [*lineage, fingerprint], "segments": segments}
        _tell_full(old.schema, known, facts["tables"])
        result = Manifest.of(staging, facts)
        result.write(staging)
    log_remarks(result.facts)
    return result.to_json()


def _tell_full(schema: SearchSchema, before: Mapping[str, Vocabulary], rows: Mapping[str, int]) -> None:
    for name, table in schema.tables.items():
        if table.ids == "vocabulary" and rows[name] >= table.max_rows:
            logger.warning(
                "table '%s' is full (max_rows %s; %s rows before): further values share row 0",
                *(name, f"{table.max_rows:,}", f"{before[name].rows:,}"),
            )


def _check_day(kept: Path, day: Place, new: Mapping[str, list[DataFile]], schema: SearchSchema) -> None:
    """Raise what is wrong with a day."""
    for name, files in new.items():
        same_types(kept, files, name, schema)
    with duckdb.connect() as db:
        try:
            db.execute("SET TimeZone = 'UTC'")
            if "items" in new:
                stage_items(db, day, schema)
            if "users" in new:
                stage_users(db, day, schema)
            if EVENTS in new:
                _check_events(db, kept, new[EVENTS], schema)
        except duckdb.Error as error:
            raise DatasetError(f"'{day.name}': {first_line(error)}") from None


def _check_events(
    db: duckdb.DuckDBPyConnection, kept: Path, files: list[DataFile], schema: SearchSchema
) -> None:
    """Refuse a day without events, with events of the future, or with events that are known."""
    e, columns = schema.events, named_columns(schema, "events")
    table = RawTable.of(db, files, EVENTS, columns)
    day = f"({table.rows(columns)})"
    rows = db.execute(f"SELECT count(*) FROM {day}").fetchone()[0]
    if not rows:
        raise DatasetError(f"'{table.first}' has no rows; there is nothing to append")
    before = RawTable.of(db, files_at(kept / EVENTS), EVENTS, columns)
    now = int(time.time() * 1000)
    for column in [e.time, *([e.event_time] if e.event_time else [])]:
        unit = e.time_unit or time_unit(db, table, column)
        known = e.time_unit or time_unit(db, before, column)
        if unit is not None and known is not None and unit != known:
            raise DatasetError(
                f"'{table.first}': column '{column}' holds {UNIT_NAMES[unit]}; in the dataset it holds "
                f"{UNIT_NAMES[known]}; write the day as the days before it"
            )
        at = as_milliseconds(column, table.types[column], unit, stated=e.time_unit is not None)
        count = db.execute(f"SELECT count(*) FROM {day} WHERE {at} > {now}").fetchone()[0]
        if count:
            raise DatasetError(
                f"'{table.first}': {count} rows have a {column} in the future; times are milliseconds since "
                "1970 or timestamps (UTC)"
            )
    old = f"({before.rows(columns)})"
    plain = ", ".join(map(quote, columns))
    db.execute(f"CREATE TEMP TABLE day AS SELECT DISTINCT {casts(before.types)} FROM {day}")
    since = f"{quote(e.time)} >= (SELECT min({quote(e.time)}) FROM day)"
    db.execute(f"CREATE TEMP TABLE known AS FROM day INTERSECT SELECT {plain} FROM {old} WHERE {since}")
    count = db.execute("SELECT count(*) FROM known").fetchone()[0]
    if count:
        first = f"SELECT {text(e.query)}, {text(e.item)}, {text(e.time)} FROM known ORDER BY 3 LIMIT 1"
        query, item, moment = db.execute(first).fetchone()
        raise DatasetError(
            f"'{table.first}': {count} of its events are in the dataset already, such as query {query!r}, "
            f"item {item!r} at {moment}; append each event once"
        )

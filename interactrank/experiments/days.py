"""A log cut into days: all of it through the first day to test on, then each further day."""

from __future__ import annotations

import shutil
from pathlib import Path

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.prepare.kept_log import EVENTS, LOG, keep_log, named_columns
from interactrank.data.raw.files import files_at
from interactrank.data.raw.sql import literal
from interactrank.data.raw.table import RawTable
from interactrank.data.raw.time_units import as_milliseconds, time_unit
from interactrank.schema import SearchSchema

__all__ = ["cut_into_days"]


def cut_into_days(data: Path, output: Path, schema: SearchSchema, days: int) -> list[str]:
    """Write the last days of a log as logs of their own; the first of them has all that was before it, too.

    Args:
        data: directory of the raw log.
        output: gets a folder for each day (UTC), the first with items and users.
        schema: names the columns.
        days: how many; days without events are not counted.

    Returns:
        The names of the folders, which are dates, in order of time.

    Raises:
        DatasetError: there are no more days than that.
    """
    shutil.rmtree(output, ignore_errors=True)
    keep_log(data, output, schema)
    log = output / LOG
    e, columns = schema.events, named_columns(schema, "events")
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        events = RawTable.of(db, files_at(log / EVENTS), EVENTS, columns)
        unit = e.time_unit or time_unit(db, events, e.time)
        at = as_milliseconds(e.time, events.types[e.time], unit, stated=e.time_unit is not None)
        day, rows = f"CAST(make_timestamp({at} * 1000) AS DATE)", events.rows(columns)
        sql = f"SELECT DISTINCT {day} AS day FROM ({rows}) WHERE {day} IS NOT NULL ORDER BY 1"
        found = [str(row[0]) for row in db.execute(sql).fetchall()]
        if len(found) <= days:
            raise DatasetError(
                f"'{data}' has events of {len(found)} days; to test on {days} it needs more, ask for fewer "
                "--days"
            )
        last = found[-days:]
        for n, name in enumerate(last):
            (output / name).mkdir()
            target = literal(str(output / name / "events.parquet"))
            wanted = f"{day} = DATE '{name}'" if n else f"coalesce({day} <= DATE '{name}', true)"
            db.execute(f"COPY (SELECT * FROM ({rows}) WHERE {wanted}) TO {target} (FORMAT parquet)")
    for name in ["items", *(["users"] if schema.users else [])]:
        shutil.move(log / f"{name}.parquet", output / last[0] / f"{name}.parquet")
    shutil.rmtree(log)
    return last

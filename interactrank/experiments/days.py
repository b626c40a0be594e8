"""A log cut into days: all of it through the first day to test on, then each further day."""

from __future__ import annotations

import shutil
from pathlib import Path

from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb
from interactrank.data.prepare.kept_log import EVENTS, LOG, keep_log, text_of
from interactrank.data.raw.files import columns_of
from interactrank.data.raw.sql import milliseconds
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
    events = [str(p) for p in sorted((log / EVENTS).glob("*.parquet"))]
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        time = schema.events.time
        at = milliseconds(time, columns_of(db, events, [time])[time])
        day = f"CAST(make_timestamp({at} * 1000) AS DATE)"
        sql = f"SELECT DISTINCT {day} AS day FROM read_parquet(?) WHERE {day} IS NOT NULL ORDER BY 1"
        found = [str(row[0]) for row in db.execute(sql, [events]).fetchall()]
        if len(found) <= days:
            raise DatasetError(
                f"'{data}' has events of {len(found)} days; to test on {days} it needs more, ask for fewer "
                "--days"
            )
        last = found[-days:]
        for n, name in enumerate(last):
            (output / name).mkdir()
            target = text_of(output / name / "events.parquet")
            rows = f"{day} = DATE '{name}'" if n else f"coalesce({day} <= DATE '{name}', true)"
            sql = f"COPY (SELECT * FROM read_parquet(?) WHERE {rows}) TO {target} (FORMAT parquet)"
            db.execute(sql, [events])
    for name in ["items", *(["users"] if schema.users else [])]:
        shutil.move(log / f"{name}.parquet", output / last[0] / f"{name}.parquet")
    shutil.rmtree(log)
    return last

"""The requests and the engagements of a dataset as tables of DuckDB, which spills what does not fit.

Requests of the split ``warmup`` are in the stores of a dataset, not in its splits: they are not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from interactrank.data.extras import duckdb
from interactrank.data.prepared.columns import (
    CANDIDATES,
    ITEM_ID,
    ITEMS_FILE,
    LABELS,
    QUERY,
    SPLITS,
    TIME,
    USER,
)
from interactrank.data.prepared.dataset import PreparedDataset

__all__ = ["opened"]


@contextmanager
def opened(dataset: PreparedDataset, head: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a dataset.

    Args:
        dataset: the dataset.
        head: whose positives are the engagements.

    Yields:
        A connection with the tables ``requests`` (time in milliseconds, query, user, ``events``: candidates,
        ``engagements``: those that are positive), ``engaged`` (time, query, user, item: a row for each
        engagement) and ``items`` (item, id).
    """
    place = dataset.schema.head_names.index(head)
    files = ", ".join(_text(path) for split in SPLITS for path in dataset.files(split))
    label = f"labels[{place + 1}:-:{len(dataset.schema.heads)}]"
    with TemporaryDirectory(prefix="interactrank-history-") as spill, duckdb.connect() as db:
        db.execute(
            f"SET TimeZone = 'UTC'; SET enable_progress_bar = false; SET temp_directory = {_text(spill)}"
        )
        db.execute(
            f"""CREATE VIEW labelled AS SELECT "{TIME}" AS time, "{QUERY}" AS query, "{USER}" AS "user",
            "{CANDIDATES}" AS candidates, [x > 0 for x in {label}] AS positive
            FROM (SELECT *, "{LABELS}" AS labels FROM read_parquet([{files}]))"""
        )
        db.execute(
            """CREATE VIEW requests AS SELECT time, query, "user", len(candidates) AS events,
            len([x for x in positive if x]) AS engagements FROM labelled"""
        )
        db.execute(
            """CREATE TABLE engaged AS SELECT time, query, "user",
            unnest(list_where(candidates, positive)) AS item FROM labelled"""
        )
        db.execute(
            f"""CREATE VIEW items AS SELECT "{ITEM_ID}" AS id, row_number() OVER () - 1 AS item
            FROM read_parquet({_text(dataset.folder / ITEMS_FILE)})"""
        )
        yield db


def _text(path: str | Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"

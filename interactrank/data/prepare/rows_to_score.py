"""Rows of (request, item) from outside of a dataset, as its requests: to be scored by a model.

The rows are read by the code that reads a log. Histories come from the dataset's stores, as of the time of
each request: one of yesterday sees what was known yesterday, one of tomorrow all that the dataset knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.pair_index import Int64s
from interactrank.data.arrow_lists import list_rows, to_arrow
from interactrank.data.errors import DatasetError
from interactrank.data.extras import duckdb, pa
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepare.encode_requests import encode_query_side
from interactrank.data.prepare.raw_requests import RawRequests, RequestBlocks
from interactrank.data.prepared import columns as names
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.candidates import stage_candidates
from interactrank.data.raw.events import EventCounts, columns_with_a_role, stage_parsed
from interactrank.data.raw.files import DataFile, files_at
from interactrank.data.raw.requests import request_id, sequence_end, stage_ordered
from interactrank.data.raw.sql import first_line
from interactrank.data.raw.staged_columns import event_columns
from interactrank.data.raw.staged_log import StagedLog
from interactrank.data.raw.table import RawTable
from interactrank.schema import SearchSchema

__all__ = ["RowBlock", "RowsToScore", "open_rows"]


@dataclass(frozen=True)
class RowBlock:
    """Some requests with their candidates, and the rows that they came from.

    Args:
        requests: R requests.
        candidates: items of each request, none twice, [C] in all.
        request_ids: [R].
        row: [N] position of each row in the files, from 0.
        candidate: [N] 0..C-1, the candidate that the row names.
    """

    requests: PreparedRequests
    candidates: Jagged
    request_ids: list[str]
    row: Int64s
    candidate: Int64s


class RowsToScore:
    """The staged rows; :func:`open_rows` makes it.

    Args:
        log: with the tables ``requests``, ``candidates`` and ``named``, which candidate each row names.
        dataset: whose items, users, vocabularies and histories count.
        rows: rows of the files.
        left_out: kind -> rows that cannot be scored.
    """

    def __init__(self, log: StagedLog, dataset: PreparedDataset, rows: int, left_out: dict[str, int]) -> None:
        self.log, self.dataset, self.rows, self.left_out = log, dataset, rows, left_out
        schema = dataset.schema
        self._vocabularies = {name: dataset.vocabulary(name) for name in schema.tables}
        fields: Mapping[str, ItemFields] = dataset.cross.fields or {}
        size = int(dataset.manifest["settings"]["block_requests"])
        sequences = dataset.users.sequences
        self._blocks = RequestBlocks(log, schema, size, sequences, self._query_vocabulary(), fields)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._blocks)

    def __iter__(self) -> Iterator[RowBlock]:
        for block in self._blocks:
            yield self._encode(self._with_users(block))

    def _query_vocabulary(self) -> Vocabulary | None:
        s = self.dataset.schema.sequence
        table = None if s is None or s.query is None else self.dataset.schema.feature(s.query).table
        return None if table is None else self._vocabularies[table]

    def _with_users(self, block: RawRequests) -> RawRequests:
        """Add the users' rows of their sequences and their columns of the users file."""
        table, who = block.table, block.table["user"].to_pylist()
        table = table.append_column("user_row", pa.array(self.dataset.users.rows(who)))
        known = self.dataset.users.table(who)
        if known is not None:
            for name in known.column_names:
                table = table.append_column(name, known[name])
        return replace(block, table=table)

    def _encode(self, block: RawRequests) -> RowBlock:
        layout, items = self.dataset.layout, self.dataset.items
        columns = encode_query_side(block, self._vocabularies)
        columns[names.CANDIDATES] = to_arrow(block.items, "int32")
        supports = np.zeros((len(block), len(self.dataset.cross.columns.rates)), np.float32)
        columns[names.CROSS_SUPPORT] = to_arrow(list_rows(supports), "float32")  # the query tower reads none
        for name, values in block.given.values.items():
            columns[names.candidate_column(name)] = to_arrow(Jagged(values, block.items.lengths), "float32")
        first = int(block.table["request"][0].as_py())
        requests = PreparedRequests(pa.table(columns), first + np.arange(len(block)), layout, items)
        named = self.log.table(
            f"""SELECT * FROM named WHERE request >= {first} AND request < {first + len(block)}"""
        )
        request = np.repeat(np.arange(len(block)), block.items.lengths)
        slots = request * len(items) + block.items.values
        order = np.argsort(slots)
        wanted = (named["request"].to_numpy() - first) * len(items) + named["item"].to_numpy()
        candidate = order[np.searchsorted(slots, wanted, sorter=order)]
        ids = block.table["request_id"].to_pylist()
        return RowBlock(requests, block.items, ids, named["row"].to_numpy(), candidate)


@contextmanager
def open_rows(rows: Path, dataset: PreparedDataset, *, strict: bool = False) -> Iterator[RowsToScore]:
    """Stage the rows of a file, or of a folder of files, in any format that a log may have.

    The columns are those that the section ``events`` of the dataset's schema names for requests and their
    items: item, query, time, user, request and session, request and candidate features, segments. What
    happened (engagements, impressions, splits) is not read. Rows of one request share its id, or without
    ``events.request`` its user, query and time; the request is made at their earliest time, and with
    ``sequence.end: session`` its session begins with its first row.

    Args:
        rows: the file or folder.
        dataset: whose items, users and histories count.
        strict: a row that cannot be scored is an error.

    Raises:
        DatasetError: there is no such file; a column is missing; no row, or with ``strict`` not every row,
            can be scored.
    """
    schema = _of_rows(dataset.schema)
    files = files_at(rows)
    with TemporaryDirectory(prefix="interactrank-score-") as work:
        settings = {"memory_limit": dataset.manifest["settings"]["memory_limit"], "temp_directory": work}
        db = duckdb.connect(str(Path(work) / "rows.duckdb"), config=settings)
        try:
            try:
                db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
                count, left_out = _stage(db, files, schema, dataset, strict)
            except duckdb.Error as error:
                raise DatasetError(f"'{rows}': {first_line(error)}") from None
            requests = db.execute("SELECT count(*) FROM requests").fetchone()[0]
            log = StagedLog(db, EventCounts(count, left_out, 0), len(dataset.items), int(requests))
            yield RowsToScore(log, dataset, count, left_out)
        finally:
            db.close()


def _of_rows(schema: SearchSchema) -> SearchSchema:
    """Return the schema without the columns that say what became of a request."""
    nothing: dict[str, Any] = {"engagements": {}, "event_time": None, "split": None, "position": None}
    nothing |= {"impressions": True, "true_probability": None}
    return schema.model_copy(update={"events": schema.events.model_copy(update=nothing)})


def _stage(
    db: duckdb.DuckDBPyConnection,
    files: list[DataFile],
    schema: SearchSchema,
    dataset: PreparedDataset,
    strict: bool,
) -> tuple[int, dict[str, int]]:
    """Make the tables and return the rows of the files, and those that are left out by kind."""
    given = [f.column for f in schema.features.candidate]
    wanted = [*columns_with_a_role(schema.events), *event_columns(schema), *given]
    table = RawTable.of(db, files, "rows", wanted)
    catalogue = pa.table({"id": pa.array(dataset.items.ids, pa.string())})
    db.register("catalogue", catalogue)
    db.execute("CREATE TABLE items AS SELECT id FROM catalogue")
    stage_parsed(db, table, schema, counted=True)
    db.execute("RESET disabled_optimizers")
    sql = "SELECT malformed, count(*) FROM parsed GROUP BY 1 ORDER BY 2 DESC, 1"
    left_out = dict(db.execute(sql).fetchall())
    count, scored = sum(left_out.values()), left_out.pop(None, 0)
    found = ", ".join(f"{n} x {kind}" for kind, n in left_out.items())
    if not scored:
        raise DatasetError(f"'{table.first}': no row can be scored: {found or 'there are none'}")
    if left_out and strict:
        raise DatasetError(
            f"'{table.first}': rows that cannot be scored: {found}; correct them, or leave them out without "
            "--strict"
        )
    stage_ordered(db, schema, has_users=False)
    db.execute(
        f"""CREATE TABLE requests AS SELECT o.*, o.rowid AS request, {sequence_end(schema)} AS history_end
        FROM ordered o ORDER BY o.rowid"""
    )
    db.execute(
        f"""CREATE TABLE named AS SELECT p.row - 1 AS row, r.request, p.item
        FROM parsed p JOIN requests r ON r.request_id = {request_id(schema, "p")}
        WHERE malformed IS NULL ORDER BY r.request, p.row"""
    )
    stage_candidates(db, schema)
    return count, left_out

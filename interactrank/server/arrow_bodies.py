"""Arrow IPC streams in and out: candidates as columns, for requests of a hundred thousand of them.

A request is a stream with the column ``id`` (text) and a column for each candidate feature. The rest of the
body is JSON text in the schema's metadata, under the key ``interactrank``; an answer is the same, with the
columns ``id`` and ``score``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from interactrank.data.extras import pa
from interactrank.server.failures import Refusal
from interactrank.serving.ranking import Ranking

__all__ = ["ARROW", "KEY", "Columns", "read_columns", "write_ranking"]

ARROW = "application/vnd.apache.arrow.stream"
KEY = b"interactrank"


class Columns(NamedTuple):
    """What an Arrow body holds.

    Args:
        rest: JSON text of the rest of the body.
        candidates: Arrow array of ids; None without the column, for the whole catalogue.
        features: candidate feature -> its values.
    """

    rest: bytes
    candidates: Any
    features: dict[str, list[Any]]


def read_columns(body: bytes, candidates: int) -> Columns:
    """Read the body of a request.

    Args:
        body: an Arrow IPC stream.
        candidates: how many there may be at most.

    Raises:
        Refusal: it is not one, or a column cannot be used.
    """
    try:
        with pa.ipc.open_stream(body) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refusal(400, "not_arrow", f"the body is not an Arrow IPC stream ({error})") from None
    rest = (table.schema.metadata or {}).get(KEY)
    if rest is None:
        raise Refusal(
            422, "invalid", "the schema's metadata has no key 'interactrank' with the rest", "request"
        )
    if len(table) > candidates:
        raise Refusal(
            422, "invalid", f"candidates: {len(table):,} of them; at most {candidates:,}", "candidates"
        )
    columns = dict(zip(table.column_names, table.columns, strict=True))
    ids = columns.pop("id", None)
    if ids is not None and not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        raise Refusal(422, "invalid", f"id: the column must be text, found {ids.type}", "id")
    if ids is not None and ids.null_count:
        raise Refusal(422, "invalid", "id: the column has a null", "id")
    return Columns(
        rest,
        None if ids is None else ids.combine_chunks().cast(pa.string()),
        {name: column.to_pylist() for name, column in columns.items()},
    )


def write_ranking(ranking: Ranking, facts: dict[str, Any]) -> bytes:
    """Return an answer.

    Args:
        ranking: of the request.
        facts: the rest of the answer.
    """
    schema = pa.schema([("id", pa.string()), ("score", pa.float32())], metadata={KEY: orjson.dumps(facts)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table([pa.array(ranking.ids, pa.string()), ranking.scores], schema=schema))
    found: bytes = sink.getvalue().to_pybytes()
    return found

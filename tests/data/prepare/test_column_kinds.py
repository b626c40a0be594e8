"""Features on columns that their kind cannot read: one line each, before anything is staged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.prepare.column_kinds import check_column_kinds
from tests.data.logs import event, item, minimal, schema, table, user, write_log

MOMENT = datetime(2024, 1, 1)


def found(tmp_path: Path, kind: str, column: pa.Array) -> str:
    """Return what is said of an item feature of that kind on a column; empty if nothing is."""
    extra = {"vector": ", dim: 2", "number": ""}.get(kind, ", table: word")
    title = "{name: title, kind: words, column: title, table: word}"
    wanted = minimal(f"features.item=[{title}, {{name: f, kind: {kind}, column: c{extra}}}]")
    items = table([item(f"i{n}") for n in range(len(column))]).append_column("c", column)
    log = write_log(tmp_path / "log", [event("r", "u", "q", "i0", 0, click=1)], items)
    try:
        check_column_kinds(log, wanted)
    except DatasetError as error:
        return str(error)
    return ""


WRONG: list[tuple[str, Any, str]] = [
    ("number", pa.array(["cheap"]), "text such as 'cheap'; kinds that fit: id, words, trigrams"),
    ("number", pa.array(["1.5", "dear"]), "text such as 'dear'; kinds that fit: id, words, trigrams"),
    ("number", pa.array([MOMENT]), "times such as '2024-01-01 00:00:00'; kinds that fit: id"),
    ("number", pa.array([[1.0]]), "lists of numbers such as '[1.0]'; kinds that fit: vector"),
    ("id", pa.array([[1.5, 2.5]]), "lists of numbers such as '[1.5, 2.5]'; kinds that fit: vector"),
    ("id", pa.array([{"a": 1}]), "STRUCT(a BIGINT) such as \"{'a': 1}\"; no kind reads that"),
    ("words", pa.array([7]), "numbers such as '7'; kinds that fit: id, number"),
    ("trigrams", pa.array([["a"]]), "lists of text such as '[a]'; kinds that fit: id"),
    ("words", pa.array([MOMENT]), "times such as '2024-01-01 00:00:00'; kinds that fit: id"),
    ("vector", pa.array(["1,2"]), "text such as '1,2'; kinds that fit: id, words, trigrams"),
    ("vector", pa.array([1.0]), "numbers such as '1.0'; kinds that fit: id, number"),
]


@pytest.mark.parametrize(("kind", "column", "message"), WRONG)
def test_check_column_kinds__names_feature_column_type_and_what_fits(
    tmp_path: Path, kind: str, column: pa.Array, message: str
) -> None:
    assert found(tmp_path, kind, column) == (
        f"feature 'f': kind {kind} does not go with column 'c' of items, which holds {message}"
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1.0, 2.0], [1.0, 2.0, 3.0]]),
        pa.array([[1, 2], None, [3]]),
        pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3)),
    ],
)
def test_check_column_kinds__vectors_have_one_width(tmp_path: Path, column: pa.Array) -> None:
    message = found(tmp_path, "vector", column)
    assert message.startswith("feature 'f': column 'c' of items has vectors of ")
    assert message.endswith(" numbers, the schema says dim: 2; all vectors of a feature have one width")


RIGHT: list[tuple[str, Any]] = [
    ("id", pa.array(["a"])),
    ("id", pa.array([7])),
    ("id", pa.array([1.5])),
    ("id", pa.array([["a", "b"], None])),
    ("id", pa.array([[1, 2]])),
    ("id", pa.array(["a"]).dictionary_encode()),
    ("words", pa.array(["red shoe"]).dictionary_encode()),
    ("words", pa.array([None], pa.null())),  # nothing is known: no type can be wrong
    ("number", pa.array(["2.5", None])),
    ("number", pa.array([True])),
    ("number", pa.array([1], pa.decimal128(5, 2))),
    ("vector", pa.array([[1, 2], None, []])),
    ("vector", pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))),
]


@pytest.mark.parametrize(("kind", "column"), RIGHT)
def test_check_column_kinds__says_nothing_of_what_fits(tmp_path: Path, kind: str, column: pa.Array) -> None:
    assert found(tmp_path, kind, column) == ""


def test_check_column_kinds__all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    events = [event("r", "u", "q", "a", 0, click=1, hour="noon")]
    log = write_log(tmp_path / "log", events, [item("a", price="dear")], [user("u")])
    with pytest.raises(DatasetError) as error:
        check_column_kinds(log, schema())
    first, second = str(error.value).split("; feature ")
    assert first.startswith("feature 'price': kind number does not go with column 'price' of items, ")
    assert second.startswith("'hour': kind number does not go with column 'hour' of events, ")


def test_check_column_kinds__text_of_a_match(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "q", "a", 0, click=1)], [item("a")])
    with pytest.raises(DatasetError, match="'bm25_words_price': column 'price' of items holds DOUBLE; "):
        check_column_kinds(log, minimal("cross_features=[{kind: bm25, columns: [price]}]"))


def test_check_column_kinds__the_query_is_text_whatever_its_type(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [event("r", "u", "7", "a", 0, click=1) | {"query": 7}], [item("a")])
    wanted = "features.request=[{name: words, kind: words, column: query, table: word}]"
    check_column_kinds(log, minimal(wanted))

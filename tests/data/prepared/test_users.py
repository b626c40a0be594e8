"""Users of a dataset: the sequences and columns that their own requests were prepared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.prepared.users import Users
from tests.data.logs import prepared, random_log, schema


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    events, items, users = random_log(3)
    return prepared(tmp_path_factory.mktemp("users"), events, items, users, schema=schema())


def test_sequences_of_requests_are_cut_from_them(log: PreparedDataset) -> None:
    sequence = log.schema.sequence
    assert sequence is not None
    assert log.users.sequences is not None
    table = log.read("test", ["user", "time", "history_end", "events.item", "events.age"])
    rows = log.users.rows(table["user"].to_pylist())
    time, end = table["time"].to_numpy(), table["history_end"].to_numpy()
    found = log.users.sequences.last(rows, time, end, sequence.length)
    assert found.item.values.tolist() == table["events.item"].combine_chunks().flatten().to_pylist()
    assert np.array_equal(found.age, table["events.age"].combine_chunks().flatten().to_numpy())
    assert len(found.item.values) > 10


def test_a_user_who_is_not_in_the_log(log: PreparedDataset) -> None:
    assert log.users.rows(["nobody", None]).tolist() == [-1, -1]
    table = log.users.table(["nobody", None])
    assert table is not None
    assert table["u_country"].to_pylist() == [None, None]


def test_columns_of_the_users_file(tmp_path: Path) -> None:
    file = pa.table({"user": ["b", "a", "c"], "u_age": [2, 1, 3], "u_country": ["B", "A", None]})
    Users.write(tmp_path, iter(["c", "a"]), file)
    users = Users(tmp_path)
    found = users.table(["c", "a", "z", "b"])
    assert found is not None
    assert found.to_pydict() == {"u_age": [3, 1, None, 2], "u_country": [None, "A", None, "B"]}
    assert users.rows(["a", "b", "c"]).tolist() == [1, -1, 0]
    assert users.sequences is None


def test_a_log_without_users(tmp_path: Path) -> None:
    Users.write(tmp_path, iter([]), None)
    assert Users(tmp_path).rows(["a"]).tolist() == [-1]
    assert Users(tmp_path).table(["a"]) is None

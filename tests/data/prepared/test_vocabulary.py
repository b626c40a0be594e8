"""Rows of ID tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from interactrank.cross_features.text import hash63
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.schema.tables import IdTable


def test_frequent_values_come_first_and_ties_in_order() -> None:
    counts = Counter(d=2, c=3, b=2, a=1)
    vocabulary = Vocabulary.count(IdTable(dim=4, min_count=2), counts)
    assert vocabulary.values == ["c", "b", "d"]
    assert vocabulary.rows == 4
    assert vocabulary.lookup(["c", "d", "a", None]).tolist() == [1, 3, 0, 0]


def test_max_rows_counts_row_0() -> None:
    vocabulary = Vocabulary.count(IdTable(dim=4, max_rows=3), Counter(a=9, b=8, c=7))
    assert (vocabulary.values, vocabulary.rows) == (["a", "b"], 3)


def test_a_hashed_table_keeps_no_values() -> None:
    vocabulary = Vocabulary.count(IdTable(dim=4, ids="hash", rows=10), Counter(a=1))
    assert (vocabulary.values, vocabulary.rows) == ([], 10)
    assert vocabulary.lookup(["a", "z", None]).tolist() == [1 + hash63("a") % 9, 1 + hash63("z") % 9, 0]


def test_the_smallest_hashed_table() -> None:
    assert Vocabulary(IdTable(dim=4, ids="hash", rows=2), []).lookup(["a", "b", None]).tolist() == [1, 1, 0]


def test_ids_of_a_managed_table_are_hashes() -> None:
    """62 bits of the hash, and 0 for a missing value alone."""
    vocabulary = Vocabulary.count(IdTable(dim=4, ids="managed", rows=16), Counter(a=1))
    assert (vocabulary.values, vocabulary.rows) == ([], 16)
    assert vocabulary.lookup(["a", None]).tolist() == [1 + hash63("a") % (2**62 - 1), 0]


def test_saved_and_opened(tmp_path: Path) -> None:
    table = IdTable(dim=4)
    for values in (["ä", "", "b"], []):
        Vocabulary(table, values).save(tmp_path / "v.parquet")
        assert Vocabulary.open(table, tmp_path / "v.parquet").values == values

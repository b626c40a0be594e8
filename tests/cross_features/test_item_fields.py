from pathlib import Path

import numpy as np
import pytest

from interactrank.cross_features import Lookup, RequestKeys, per_row
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.lookup import FieldLookup
from interactrank.cross_features.pair_index import DamagedIndexError

GENRES = [["War", "drama"], None, "drama", [], ["comedy", None, "war"], 7]


def test_a_value_is_one_number_however_it_is_written():
    fields = ItemFields.from_column(GENRES)
    assert fields.num_values == 4  # war, drama, comedy, 7
    assert fields.values.lengths.tolist() == [2, 0, 1, 0, 2, 1]
    war, drama = fields.of([0]).values
    assert fields.of([2]).values.tolist() == [drama]
    assert war in fields.of([4]).values


def test_what_is_saved_is_opened(tmp_path: Path):
    fields = ItemFields.from_column(GENRES)
    fields.save(tmp_path)
    opened = ItemFields.open(tmp_path)
    assert opened.hashes.tolist() == fields.hashes.tolist()
    assert opened.of([0, 5]).values.tolist() == fields.of([0, 5]).values.tolist()
    (tmp_path / "items").unlink()
    with pytest.raises(DamagedIndexError, match="is missing"):
        ItemFields.open(tmp_path)


def test_a_column_without_values():
    fields = ItemFields.from_column([None, []])
    assert fields.num_values == 0
    look = FieldLookup(lookup(None, 2), fields)
    assert look.mean(np.zeros(2)).tolist() == [0, 0, 0, 0]


def lookup(candidates: list[list[int]] | None, items: int = len(GENRES)) -> Lookup:
    time = np.array([5, 6])
    return Lookup(RequestKeys({}, time, time), None if candidates is None else per_row(candidates), items)


@pytest.mark.parametrize("listed", [[[0, 1], [4, 5, 0]], None])
def test_numbers_of_values_become_numbers_of_candidates(listed: list[list[int]] | None):
    """The number of a value is 10 * request + value, so that each mean and maximum can be seen."""
    fields = ItemFields.from_column(GENRES)
    look = FieldLookup(lookup(listed), fields)
    numbers = 10.0 * look.inner.request + look.inner.item
    each = listed or [list(range(len(GENRES)))] * 2
    wanted = [[10.0 * r + fields.of([i]).values for i in items] for r, items in enumerate(each)]
    flat = [v for row in wanted for v in row]
    assert look.mean(numbers).tolist() == pytest.approx([v.mean() if len(v) else 0 for v in flat])
    assert look.max(numbers).tolist() == [v.max() if len(v) else -np.inf for v in flat]


def test_a_value_of_several_candidates_is_looked_up_once():
    look = FieldLookup(lookup([[0, 2], []]), ItemFields.from_column(GENRES))
    assert look.inner.candidates is not None
    assert look.inner.candidates.lengths.tolist() == [2, 0]  # war and drama, although drama is there twice

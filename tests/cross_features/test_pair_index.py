"""PairIndex and its searches against loops and dictionaries."""

from __future__ import annotations

import json
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactrank.core.errors import UserError
from interactrank.cross_features.pair_index import DamagedIndexError, PairIndex, ranges, search_segments

segments = st.lists(st.lists(st.integers(-5, 5), max_size=6).map(sorted), min_size=1, max_size=5)
pair_sets = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)))


@given(segments, st.lists(st.tuples(st.integers(0, 4), st.integers(-7, 7)), max_size=8))
def test_search_segments_is_bisect_left_in_each(rows: list[list[int]], wanted: list[tuple[int, int]]) -> None:
    values = np.array([v for row in rows for v in row], np.int64)
    ends = np.cumsum([len(row) for row in rows])
    which = np.array([w % len(rows) for w, _ in wanted], np.int64)
    targets = np.array([t for _, t in wanted], np.int64)
    low = (ends - [len(row) for row in rows])[which]
    found = search_segments(values, low, ends[which], targets)
    assert (found - low).tolist() == [bisect_left(rows[w], t) for w, t in zip(which, targets, strict=True)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=6))
def test_ranges(rows: list[tuple[int, int]]) -> None:
    starts, lengths = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int64)
    assert ranges(starts, lengths).tolist() == [s + i for s, n in rows for i in range(n)]


def index_of(pairs: set[tuple[int, int]]) -> PairIndex:
    keys = sorted({k for k, _ in pairs})
    counts = [sum(k == key for k, _ in pairs) for key in keys]
    return PairIndex(
        keys=np.array([k * 10 for k in keys], np.int64),  # gaps between the keys
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=np.array([i for _, i in sorted(pairs)], np.int32),
    )


@given(pair_sets, st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 7)), max_size=12))
def test_find_and_pairs_of(pairs: set[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    index, ordered = index_of(pairs), sorted(pairs)
    keys = np.array([k * 10 for k, _ in asked], np.int64)
    items = np.array([i for _, i in asked], np.int64)
    rows = index.rows(keys)
    known = sorted({k for k, _ in pairs})
    assert rows.tolist() == [known.index(k) if k in known else -1 for k, _ in asked]
    place = {pair: n for n, pair in enumerate(ordered)}
    assert index.find(rows, items).tolist() == [place.get(a, -1) for a in asked]
    which, at = index.pairs_of(rows)
    expected = [(n, place[p]) for n, (k, _) in enumerate(asked) for p in ordered if p[0] == k]
    assert list(zip(which.tolist(), at.tolist(), strict=True)) == expected
    assert index.num_pairs(rows) == len(expected)


@given(pairs=pair_sets)
def test_saved_and_mapped(tmp_path_factory: pytest.TempPathFactory, pairs: set[tuple[int, int]]) -> None:
    folder = tmp_path_factory.mktemp("index")
    index = index_of(pairs)
    index.save(folder)
    opened = PairIndex.open(folder)
    for name in PairIndex.arrays:
        assert np.array_equal(getattr(opened, name), getattr(index, name))
        assert getattr(opened, name).size == 0 or not getattr(opened, name).flags.writeable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index_of({(1, 2), (1, 3), (2, 2)}).save(tmp_path)
    return tmp_path


def test_a_cut_file(folder: Path) -> None:
    (folder / "items").write_bytes(b"1234567")
    with pytest.raises(DamagedIndexError) as error:
        PairIndex.open(folder)
    assert str(error.value) == (
        f"'{folder}/items' has 7 bytes, not 3 values of <i4 as its index says; "
        "the folder is incomplete: prepare the log again"
    )
    assert isinstance(error.value, UserError)


def test_a_missing_file(folder: Path) -> None:
    (folder / "keys").unlink()
    with pytest.raises(DamagedIndexError, match="/keys' is missing; the folder is incomplete: prepare"):
        PairIndex.open(folder)


@pytest.mark.parametrize("text", [None, "{"])
def test_no_readable_index(folder: Path, text: str | None) -> None:
    (folder / "index.json").unlink()
    if text is not None:
        (folder / "index.json").write_text(text)
    with pytest.raises(DamagedIndexError, match=r"has no readable index\.json .*prepare the log again"):
        PairIndex.open(folder)


def test_an_index_without_the_size_of_an_array(folder: Path) -> None:
    (folder / "index.json").write_text(json.dumps({"keys": 2, "offsets": 3}))
    with pytest.raises(DamagedIndexError, match=r"has no readable index\.json .*prepare the log again"):
        PairIndex.open(folder)

"""prepare on a log small enough to check every column by hand."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from interactrank.cross_features.text import hash63
from interactrank.data import LoaderSettings, SearchLoader
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data.logs import (
    DAY,
    HOUR,
    MINUTE,
    START,
    event,
    item,
    minimal,
    prepared,
    random_log,
    requests,
    schema,
    user,
)

ITEMS = [
    item("a", "red shoe", price=10.0),
    item("b", "blue shoe", categories=["c1", "c2"], price=None, image=None),
    item("c", None, categories=None, price=float("inf")),
]
USERS = [user("u", "de", 30), user("v", None, None)]


def log_of(tmp_path: Path) -> PreparedDataset:
    unknown = {"hour": None, "query_vector": None}
    events = [
        # u searches "Red  Shoe": a is shown first and passed over, b is clicked five minutes later.
        event("r1", "u", "Red  Shoe", "b", 0, position=2, click=1, event_time=START + 5 * MINUTE),
        event("r1", "u", "Red  Shoe", "a", 0, position=1),
        # v, the same query an hour later: a is clicked at once, and saved on the next day.
        event("r2", "v", "red shoe", "a", 60, click=1),
        event("r2", "v", "red shoe", "a", 60, save=1, event_time=START + HOUR + DAY),
        # u again, two hours after the first search.
        event("r3", "u", "red shoe", "a", 120, position=1, **unknown),
        event("r3", "u", "red shoe", "b", 120, position=2, save=2, click=1, **unknown),
        event("r3", "u", "red shoe", "c", 120, position=3, **unknown),
        # w is in no users file; two days on.
        event("r4", "w", "sock", "c", 2880, split="test", click=1),
        event("r4", "w", "sock", "a", 2880, split="test"),
        event("r5", "u", "red shoe", "a", 2881, split="test"),
        event("r5", "u", "red shoe", "b", 2881, split="test", click=1),
    ]
    return prepared(tmp_path, events, ITEMS, USERS, schema=schema())


@pytest.fixture(scope="module")
def log_(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return log_of(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def rows(log_: PreparedDataset) -> dict[str, dict[str, Any]]:
    return {r["request_id"]: r for split in ("train", "test") for r in requests(log_, split)}


def test_manifest(log_: PreparedDataset) -> None:
    m = log_.manifest
    names = {p.relative_to(log_.folder).as_posix() for p in log_.folder.rglob("*") if p.is_file()}
    assert set(m["files"]) == names - {"manifest.json"}
    assert (m["events"], m["items"], m["malformed"], m["without_engagement"]) == (11, 3, {}, 0)
    assert m["requests"] == {"train": 3, "validation": 0, "test": 2}
    # Row 0 and: one training query; three items, of which each was a candidate; c1 and c2.
    assert m["tables"] == {"query": 2, "word": 50, "item": 4, "category": 3}
    # Hours 0 and 1 of r1 and r2 in training (r3 has none): mean 0.5, std of the sample sqrt(0.5).
    assert m["numbers"]["hour"] == pytest.approx({"minimum": 0, "maximum": 1, "mean": 0.5, "std": 0.5**0.5})
    assert m["numbers"]["age"] == {"minimum": 30, "maximum": 30, "mean": 30, "std": 0}
    assert m["numbers"]["price"] == {"minimum": 10, "maximum": 10, "mean": 10, "std": 0}


def test_requests_are_in_order_of_time(log_: PreparedDataset) -> None:
    assert [r["request_id"] for r in requests(log_)] == ["r1", "r2", "r3"]
    assert [r["time"] for r in requests(log_)] == [START, START + HOUR, START + 2 * HOUR]


def test_candidates_are_in_order_of_position(rows: dict[str, Any]) -> None:
    assert [rows[r]["candidates"] for r in ("r1", "r2", "r3", "r4")] == [[0, 1], [0], [0, 1, 2], [2, 0]]


def test_labels_by_head(rows: dict[str, Any]) -> None:
    # Each candidate: like, only_click. The click on b of r1; the click and save on a of r2.
    assert rows["r1"]["labels"] == [0, 0, 1, 1]
    assert rows["r2"]["labels"] == [1, 0]
    assert rows["r3"]["labels"] == [0, 0, 1, 0, 0, 0]


def test_weights_are_those_of_the_first_engagement_in_the_list(rows: dict[str, Any]) -> None:
    assert rows["r1"]["weights"] == [0.5, 3]
    assert rows["r2"]["weights"] == [5]  # save comes before click
    assert rows["r4"]["weights"] == [3, 0.5]


def test_features(log_: PreparedDataset, rows: dict[str, Any]) -> None:
    word = lambda text: 1 + hash63(text) % 49  # noqa: E731
    assert rows["r1"]["query"] == rows["r2"]["query"] == "red shoe"
    assert rows["r1"]["feature.query_id"] == rows["r5"]["feature.query_id"] == [1]
    assert rows["r4"]["feature.query_id"] == [0]  # sock was not searched in training
    assert rows["r1"]["feature.query_words"] == [word("red"), word("shoe")]
    assert rows["r2"]["dense"][:1] == [1]
    assert rows["r2"]["dense"][1] != rows["r2"]["dense"][1]  # v's age is not known
    assert rows["r2"]["dense"][2:] == [1, 60]
    assert [x != x for x in rows["r3"]["dense"]] == [True, False, True, True]
    assert [x != x for x in rows["r4"]["dense"]] == [False, True, False, False]  # w is no known user
    items = log_.items
    assert items.ids == ["a", "b", "c"]
    assert items.train_count.tolist() == [3, 2, 1]
    assert [int(v) for v in items.features["item_id"].values] == [1, 2, 3]  # a, b, c by frequency
    # c1: a thrice and b twice; c2: b twice.
    assert [int(v) for v in items.features["categories"].values] == [1, 1, 2, 0]
    assert items.features["categories"].lengths.tolist() == [1, 2, 1]
    assert items.features["title"].values.tolist() == [
        word("red"),
        word("shoe"),
        word("blue"),
        word("shoe"),
        0,
    ]
    assert items.dense[0].tolist() == [10, 0, 1]
    assert [[x != x for x in row] for row in items.dense.tolist()] == [
        [False] * 3,
        [True] * 3,
        [True, False, False],
    ]


def test_sequences(rows: dict[str, Any]) -> None:
    assert rows["r1"]["events.item"] == rows["r2"]["events.item"] == []
    # r3 at 2 h sees u's click on b of 5 minutes: 115 / 60 hours ago, after the query in row 1.
    assert rows["r3"]["events.item"] == [1]
    assert rows["r3"]["events.query"] == [1]
    assert rows["r3"]["events.action"] == [0]
    assert rows["r3"]["events.age"] == pytest.approx([115 / 60])
    # r5: the click and save on b of r3 happened in one moment: one event, the first in the list.
    assert rows["r5"]["events.item"] == [1, 1]
    assert rows["r5"]["events.action"] == [0, 0]
    assert rows["r5"]["events.age"] == pytest.approx([2881 / 60 - 2, 2881 / 60 - 5 / 60])


def features_of(rows: dict[str, Any], request: str, column: int) -> tuple[list[float], float]:
    row, width = rows[request], 11
    return row["cross.rate"][column::width], row["cross.support"][column]


def test_history_of_the_query(rows: dict[str, Any]) -> None:
    assert features_of(rows, "r1", 0) == ([0, 0], 0)
    # r2 at 1 h: one click, on b. Its own click on a is not there.
    assert features_of(rows, "r2", 0) == ([0], 1)
    # r3 at 2 h: b at 5 minutes, a at 1 h.
    assert features_of(rows, "r3", 0) == ([0.5, 0.5, 0], 2)
    # r5: and b at 2 h.
    assert features_of(rows, "r5", 0) == (pytest.approx([1 / 3, 2 / 3]), 3)
    # Window of a day before 2881 minutes: nothing but later than 1441 minutes.
    assert features_of(rows, "r5", 2) == ([0, 0], 0)


def test_an_engagement_counts_from_its_own_time(rows: dict[str, Any]) -> None:
    # v saved a a day after clicking on it: r3 does not know, r5 does (a once, b once at 2 h).
    assert features_of(rows, "r3", 1) == ([0, 0, 0], 0)
    assert features_of(rows, "r5", 1) == ([0.5, 0.5], 2)


def test_history_of_a_head_is_what_was_known_then(rows: dict[str, Any]) -> None:
    # only_click: the click of r1, and that of r2, which the save of the next day does not undo.
    assert features_of(rows, "r3", 10) == ([0.5, 0.5, 0], 2)
    # b of r3 was clicked and saved at once: not only clicked.
    assert features_of(rows, "r5", 10) == ([0.5, 0.5], 2)


def test_history_of_the_segment(rows: dict[str, Any]) -> None:
    # u is from de: only u's own click on b. The country of v and w is not known.
    assert features_of(rows, "r3", 3) == ([0, 1, 0], 1)
    assert features_of(rows, "r2", 3) == ([0], 0)
    assert features_of(rows, "r4", 3) == ([0, 0], 0)
    assert rows["r3"]["segment.country"] == "de"
    assert rows["r2"]["segment.country"] is rows["r4"]["segment.country"] is None


def test_history_of_words_user_sequence_and_all(rows: dict[str, Any]) -> None:
    assert features_of(rows, "r3", 4) == ([0.5, 0.5, 0], 2)  # red and shoe have the same history
    assert features_of(rows, "r3", 6) == ([0, 1, 0], 1)  # u clicked on b
    assert features_of(rows, "r4", 9) == (pytest.approx([0, 1 / 3]), 3)


@pytest.mark.parametrize("column", [7, 8])  # of all the sequence, and of what followed the same query
def test_cosine_with_the_users_items(rows: dict[str, Any], column: int) -> None:
    # u's sequence is b; u alone engaged with b, v alone with a.
    assert features_of(rows, "r3", column) == ([0, 1, 0], 1)
    assert features_of(rows, "r5", column) == ([0, 1], 1)
    assert features_of(rows, "r2", column) == ([0], 0)  # v had none yet


def test_cosine_with_what_followed_the_same_query(tmp_path: Path) -> None:
    events = [
        event("r1", "u", "one", "a", 0, click=1),
        event("r2", "u", "two", "b", 1, click=1),
        event("r3", "v", "one", "a", 2, click=1),
        event("r4", "v", "one", "c", 3, click=1),
        event("r5", "u", "one", "c", 4, click=1),
        event("r5", "u", "one", "b", 4),
    ]
    items = [item(x) for x in "abc"]
    found = {}
    for name, end in (("request", "request"), ("day", "day")):
        log = prepared(tmp_path / name, events, items, [user("u")], schema=schema(f"sequence.end={end}"))
        found[name] = {r["request_id"]: r for r in requests(log)}
    # Users of a: u, v; of b: u; of c: v; of a and b: u; of a and c: v.
    c_a, b_a = 1 / (2 * 1) ** 0.5, 1 / (2 * 1) ** 0.5
    # All of u's sequence, a and b: of c (c_a + 0) / 2, of b (b_a + 1) / 2.
    assert features_of(found["request"], "r5", 7) == (pytest.approx([c_a / 2, (b_a + 1) / 2]), 1)
    # After the same query u engaged with a alone.
    assert features_of(found["request"], "r5", 8) == (pytest.approx([c_a, b_a]), 1)
    # A history that ends at the start of the day has nothing yet.
    assert features_of(found["day"], "r5", 7) == ([0, 0], 0)


def test_geometric_history_of_trigrams(rows: dict[str, Any]) -> None:
    # sock has the trigrams ^so, soc, ock, ck$, none of them met before: a query without history is 0.
    assert features_of(rows, "r4", 5) == ([0, 0], 0)
    # r2: all six trigrams of redshoe lead to b once: a has (0 + 1/3) / (1 + 1) in each.
    rate, support = features_of(rows, "r2", 5)
    assert rate == pytest.approx([1 / 6])
    assert support == 1


def test_lexical(rows: dict[str, Any]) -> None:
    # Of 3 titles 1 has red and 2 have shoe: idf ln(1 + 2.5 / 1.5) and ln(1 + 1.5 / 2.5). Words of a title:
    # 2, on average 4 / 3; tf part 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / (4 / 3))).
    red, shoe, part = log(1 + 2.5 / 1.5), log(1 + 1.5 / 2.5), 1 / (1 + 1.2 * (0.25 + 0.75 * 1.5))
    assert rows["r3"]["cross.number"][::3] == pytest.approx([part, part * shoe / (red + shoe), 0], rel=1e-4)


def test_repeats(rows: dict[str, Any]) -> None:
    assert [rows[r]["excluded"] for r in ("r1", "r2", "r3", "r4", "r5")] == [[], [], [1], [], [1]]


def test_train_frequency(rows: dict[str, Any]) -> None:
    assert [rows[r]["train_frequency"] for r in ("r1", "r3", "r4", "r5")] == [3, 3, 0, 3]


# Sequences that end earlier.


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("request", ["d", "c", "b"]),  # the last three, strictly before
        ("session", ["b", "a"]),  # the session began with the click on c
        ("day", ["b", "a"]),
        ("month", ["a"]),
    ],
)
def test_end_of_a_sequence(tmp_path: Path, end: str, expected: list[str]) -> None:
    month = 31 * 1440  # 2024-02-01
    events = [
        event("r1", "u", "q", "a", month - 60, click=1),
        event("r2", "u", "q", "b", month + 60, click=1),
        event("r3", "u", "q", "c", month + 1440, click=1, session_id="s"),
        event("r4", "u", "q", "d", month + 1450, click=1, session_id="s"),
        event("r5", "u", "q", "e", month + 1460, click=1, session_id="s"),
        event("r6", "v", "q", "e", month + 1400, click=1, session_id="s"),  # another user's session s
    ]
    items = [item(x) for x in "abcde"]
    log = prepared(tmp_path, events, items, [user("u")], schema=schema(f"sequence.end={end}"))
    row = {r["request_id"]: r for r in requests(log)}["r5"]
    assert ["abcde"[i] for i in row["events.item"]] == expected
    assert row["events.age"] == sorted(row["events.age"])
    assert all(age > 0 for age in row["events.age"])
    # The user's own history (column 6) ends there too; the query's (column 0) is as of the request.
    assert row["cross.support"][6] == {"request": 4, "session": 2, "day": 2, "month": 1}[end]
    assert row["cross.support"][0] == 5


def test_a_request_without_a_session_is_a_session_of_its_own(tmp_path: Path) -> None:
    events = [event(f"r{n}", "u", "q", "a", n, click=1, session_id=None) for n in range(3)]
    log = prepared(
        tmp_path,
        [*events, event("x", "v", "q", "a", 9, click=1)],
        [item("a")],
        [user("u")],
        schema=schema("sequence.end=session"),
    )
    assert [len(r["events.item"]) for r in requests(log)] == [0, 1, 2, 0]


def test_sequence_of_some_engagements_and_of_another_feature(tmp_path: Path) -> None:
    events = [
        event("r1", "u", "one", "a", 0, click=1, save=1, hour=7),
        event("r2", "u", "two", "b", 1, click=1, hour=8),
        event("r3", "u", "one", "a", 2, click=1, hour=7),
    ]
    wanted = schema(
        "sequence.engagements=[save]",
        "sequence.query=hour_id",
        "features.request.2={name: hour_id, kind: id, column: hour, table: hour}",
        "tables.hour={dim: 4}",
    )
    log = prepared(tmp_path, events, [item("a"), item("b")], [user("u")], schema=wanted)
    last = requests(log)[2]
    assert last["events.item"] == [0]  # the save alone
    assert last["events.query"] == last["feature.hour_id"] == [1]  # hour 7 came twice, 8 once


# The output folder.


def test_files_and_row_groups_have_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    events = [event(f"r{n}", "u", f"q{n}", "a", n, click=1) for n in range(20)]
    sizes = {"block_requests": 4, "group_requests": 3, "file_requests": 8}
    split = {"split": {"validation_share": 0, "test_share": 0}}
    log = prepared(tmp_path, events, [item("a")], schema=minimal(), settings=sizes | split)
    files = [pq.ParquetFile(f) for f in log.files("train")]
    assert [f.metadata.num_rows for f in files] == [8, 8, 4]
    assert [f.metadata.row_group(g).num_rows for f in files[:1] for g in range(f.num_row_groups)] == [
        3,
        1,
        3,
        1,
    ]
    assert [r["query"] for r in requests(log)] == [f"q{n}" for n in range(20)]


def test_blocks_do_not_change_the_result(tmp_path: Path) -> None:
    events, items, users = random_log(3)
    one = prepared(tmp_path / "1", events, items, users, schema=schema())
    many = prepared(tmp_path / "2", events, items, users, schema=schema(), settings={"block_requests": 7})
    for split in ("train", "test"):
        assert str(requests(one, split)) == str(requests(many, split))


def test_what_lies_in_a_dataset(log_: PreparedDataset) -> None:
    assert sorted(p.name for p in log_.folder.iterdir()) == [
        *("cross_features", "item_fields", "items.parquet", "manifest.json", "repeats"),
        *("test", "train", "users", "validation", "vocabulary"),
    ]  # fmt: skip


def test_an_engagement_may_be_called_any(tmp_path: Path) -> None:
    wanted = minimal(
        "events.engagements={any: click, save: save}",
        "heads=[{name: any, engagements: [any]}]",
        "events.impressions=true",
    )
    events = [event("r", "u", "q", "a", 0, click=1), event("r", "u", "q", "b", 0, save=1)]
    log = prepared(tmp_path, events, [item("a"), item("b")], schema=wanted)
    assert requests(log)[0]["labels"] == [1, 0]


# Impressions.

READ = ("events.request=request_id", "events.split=split")
RATES = (
    "cross_features=[{kind: iqp, key: query, engagement: click, statistic: rate},"
    " {kind: iqp, key: all, engagement: click, statistic: rate, of: brand}]"
)


@pytest.mark.parametrize("impressions", ["true", "listed"])
def test_rates_of_impressions(tmp_path: Path, impressions: str) -> None:
    """Item a is shown twice in r1 (once by mistake) and clicked, b is shown; with the column `listed`, the
    click on c outside of a list is an engagement, but no impression. b and c are of one brand."""
    wanted = minimal(f"events.impressions={impressions}", RATES, *READ)
    events = [
        event("r1", "u", "q", "a", 0, click=1) | {"listed": 1},
        event("r1", "u", "q", "a", 0) | {"listed": 1},
        event("r1", "u", "q", "b", 0) | {"listed": 2},
        event("r2", "u", "q", "c", 10, click=1) | {"listed": None},
        *(event("r3", "u", "q", i, 20) | {"listed": 1} for i in ("a", "b", "c")),
    ]
    items = [item("a") | {"brand": "x"}, item("b") | {"brand": "y"}, item("c") | {"brand": "Y "}]
    log = prepared(tmp_path, events, items, schema=wanted)
    of_c = 1 if impressions == "true" else 0  # impressions of c
    rows = {r["request_id"]: np.reshape(r["cross.counts"], (-1, 4)).tolist() for r in requests(log)}
    assert rows["r1"] == [[0, 0, 0, 0]] * 2  # one list's engagements never see each other
    # engagements of (item, query), of the brand; impressions of (item, query), of the brand
    assert rows["r3"] == [[1, 1, 1, 1], [0, 1, 1, 1 + of_c], [1, 1, of_c, 1 + of_c]]
    loader = SearchLoader(log, "train", LoaderSettings(batch_requests=9), shuffle=False)
    catalogue = log.cross.look_up(next(iter(loader.requests())).keys())
    assert catalogue.counts[-3:].tolist() == rows["r3"]


def test_a_field_that_items_lack(tmp_path: Path) -> None:
    wanted = minimal("events.impressions=true", RATES, *READ)
    events = [event("r1", "u", "q", "a", 0, click=1)]
    with pytest.raises(DatasetError, match="no column 'brand'"):
        prepared(tmp_path, events, [{"item_id": "a", "title": "thing"}], schema=wanted)
    with pytest.raises(DatasetError, match="no item has a value in the column 'brand' of items"):
        prepared(tmp_path / "2", events, [item("a") | {"brand": ""}], schema=wanted)


def test_positions(rows: dict[str, Any]) -> None:
    assert [rows[r]["position"] for r in ("r1", "r2", "r3")] == [[1, 2], [0], [1, 2, 3]]

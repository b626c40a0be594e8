"""The report on histories: every number by hand, or against loops over the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from interactrank.cli import main
from interactrank.core.settings import parse_config
from interactrank.data import prepare_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import PrepareSettings
from interactrank.evaluation.history import history_report, write_report
from interactrank.evaluation.history.concentration import gini, top_share
from interactrank.evaluation.history.coverage import coverage
from interactrank.evaluation.history.drift import overlap_by_period, top_gains
from interactrank.evaluation.history.report import markdown, show
from tests.data.logs import event, item, minimal, prepared, random_log, requests, schema

DAY = 1440  # minutes
IQP = "cross_features=[{kind: iqp, key: query, engagement: click}]"
ALL_TRAIN = {"split": {"validation_share": 0, "test_share": 0}}


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE dated (period BIGINT, query VARCHAR, item INTEGER)")
        opened.execute("CREATE TABLE items AS SELECT i AS item, 'i' || i AS id FROM range(9) t(i)")
        yield opened


def engage(db: duckdb.DuckDBPyConnection, period: int, query: str, *counts: int) -> None:
    """The n-th count is that of item n."""
    for n, count in enumerate(counts):
        db.execute(f"INSERT INTO dated SELECT {period}, '{query}', {n} FROM range({count})")


# Coverage.


def test_coverage_by_hand(tmp_path: Path) -> None:
    events = [
        event("1", "u", "q", "a", 0, click=1),
        event("2", "u", "q", "a", 1),  # the query led to a before
        event("2", "u", "q", "b", 1, click=1),
        event("3", "u", "q", "a", 2),
        event("3", "u", "q", "b", 2),
        event("4", "u", "new", "a", 3),
    ]
    found = prepared(
        tmp_path,
        events,
        [item("a"), item("b")],
        schema=minimal("events.request=request_id", "events.impressions=true", IQP),
        settings=ALL_TRAIN,
    )
    # Candidates with history: a of request 2, both of request 3; of 6. Requests with any: 2 and 3 of 4.
    (train,) = coverage(found).values()
    assert train["candidates"] == 6
    of = train["features"]["query_click"]
    assert (of["all"], of["requests"]) == (3 / 6, 2 / 4)
    # Of 4 searches q has 3, so that it is the head; new reaches no third first: it is the tail.
    assert of["query"] == {"head": 3 / 5, "torso": None, "tail": 0.0, "unseen": None}
    # Of 6 candidates a has 4, which passes both thirds; b is the tail.
    assert of["item"] == {"head": 2 / 4, "torso": None, "tail": 1 / 2, "unseen": None}


def test_coverage_is_what_the_columns_say(tmp_path: Path) -> None:
    found = prepared(tmp_path, *random_log(3), schema=schema())
    of = coverage(found)
    assert "bm25_words_title" not in of["train"]["features"]  # counts nothing
    columns = found.cross.columns
    for split in ("train", "test"):
        rows = requests(found, split)
        for j, feature in enumerate(columns.rates):
            values = [v for r in rows for v in r["cross.rate"][j :: len(columns.rates)]]
            share = of[split]["features"][feature.name]["all"]
            assert share == pytest.approx(np.mean(np.array(values) > 0))
        width = 2 * len(columns.ratios)
        for j, feature in enumerate(columns.ratios):
            shown = [v for r in rows for v in r["cross.counts"][j + len(columns.ratios) :: width]]
            share = of[split]["features"][feature.name]["all"]
            assert share == pytest.approx(np.mean(np.array(shown) > 0))


# Concentration.


def test_concentration_is_that_of_all_values_one_by_one() -> None:
    values = np.sort(np.random.default_rng(0).integers(1, 20, 300))
    size, times = np.unique(values, return_counts=True)
    assert top_share(size, times, 0.1) == pytest.approx(values[-30:].sum() / values.sum())
    difference = np.abs(values[:, None] - values[None]).mean()  # Gini: half the mean difference over the mean
    assert gini(size, times) == pytest.approx(difference / (2 * values.mean()))


# Drift.


def test_overlap_by_hand(db: duckdb.DuckDBPyConnection) -> None:
    engage(db, -1, "q", 8, 2)
    engage(db, 0, "q", 6, 4)
    # Two of one week fall together: (8*7 + 2*1)/90 and (6*5 + 4*3)/90; one of each: (8*6 + 2*4)/100.
    (row,) = overlap_by_period(db, "query", "item")
    assert row == {
        "period": 0,
        "keys": 1,
        "engagements": 20,
        "overlap": pytest.approx(2 * 0.56 / (58 / 90 + 42 / 90)),
    }


def test_overlap_without_anything_in_common_and_of_rare_keys(db: duckdb.DuckDBPyConnection) -> None:
    engage(db, -1, "q", 20)
    engage(db, 0, "q", 0, 20)
    engage(db, -1, "rare", 9)
    engage(db, 0, "rare", 9)
    (row,) = overlap_by_period(db, "query", "item")
    assert (row["keys"], row["overlap"]) == (1, 0.0)


def test_overlap_does_not_take_chance_for_drift(db: duckdb.DuckDBPyConnection) -> None:
    """300 queries of 12 engagements a week, all of the same shares: by chance alone half of each differs."""
    draws = np.random.default_rng(1).integers(0, 9, (2, 300, 12))
    for period, queries in zip((-1, 0), draws, strict=True):
        rows = [(period, f"q{n}", int(i)) for n, query in enumerate(queries) for i in query]
        db.executemany("INSERT INTO dated VALUES (?, ?, ?)", rows)
    (row,) = overlap_by_period(db, "query", "item")
    assert row["overlap"] == pytest.approx(1, abs=0.05)


def test_top_gains_by_hand(db: duckdb.DuckDBPyConnection) -> None:
    engage(db, -1, "q", 8, 2)
    engage(db, 0, "q", 5, 15)
    engage(db, 0, "new", 30)  # nothing before: no share to gain on
    # 15 of 20 where 2 of 10 were: 15 - 20 * .2 = 11 more.
    (row,) = top_gains(db, 5)
    assert row == {"query": "q", "item": "i1", "share_before": 0.2, "share": 0.75, "gain": 11.0}


# The report.


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Three weeks, of each 12 clicks on i0 after q; a bot that searches 60 times on one day."""
    events = [
        event("", "u", "q", f"i{int(week == 2)}", week * 7 * DAY + n, click=1)
        for week in range(3)
        for n in range(12)
    ]
    events += [event("", "bot", "spam", "i2", 8 * DAY + n, click=int(n < 2)) for n in range(60)]
    folder = tmp_path_factory.mktemp("history")
    return prepared(
        folder,
        events,
        [item(f"i{n}") for n in range(3)],
        schema=minimal("events.user=user_id", "events.impressions=true", IQP),
        settings=ALL_TRAIN,
    )


def test_report(dataset: PreparedDataset, tmp_path: Path) -> None:
    report = history_report(dataset, user_cap=50)
    spread = report["concentration"]
    assert spread["user"] == {
        "distinct": 2,
        "engagements": 38,
        "top_1": pytest.approx(36 / 38),
        "top_10": pytest.approx(36 / 38),
        "gini": pytest.approx(34 / 38 / 2),  # |36 - 2| over 2 users, of a mean of 19
    }
    # The last week is the only one with other items than the week before.
    assert [r["overlap"] for r in report["drift"]["overlap"]["items of a query"]] == [1.0, 0.0]
    assert report["drift"]["days"] == 7
    assert [(g["query"], g["item"], g["gain"]) for g in report["drift"]["gains"]] == [("q", "i1", 12.0)]
    # 60 searches of one event each: 10 come after the first 50.
    at = {row["cap"]: row for row in report["caps"]["user"]}
    assert (at[50]["names"], at[50]["events"], at[50]["engagements"]) == (1, 10, 0)
    assert at[50]["share_of_events"] == pytest.approx(10 / 96)
    assert at[100]["events"] == 0
    bot = report["busiest_days"]["user"][0]
    assert bot == {"name": "bot", "day": "2024-01-09", "requests": 60, "events": 60, "engagements": 2}
    written = write_report(report, tmp_path / "out")
    assert json.loads(written[0].read_text()) == json.loads(json.dumps(report))
    assert "| bot | 2024-01-09 | 60 | 60 | 2 |" in written[1].read_text()
    assert written[2].read_bytes()[1:4] == b"PNG"


def test_what_a_cap_would_remove_is_what_the_setting_removes(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    (row,) = [r for r in history_report(dataset, user_cap=7)["caps"]["user"] if r["cap"] == 7]
    log = dataset.folder.parent / "log"
    settings = parse_config(PrepareSettings, {**ALL_TRAIN, "max_events_per_user_day": 7})
    manifest = prepare_log(log, tmp_path / "capped", dataset.schema, settings)
    assert manifest["capped"] == {"max_events_per_user_day": row["events"]}
    assert row["events"] == 53 + 3 * 5


def test_verb(dataset: PreparedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(dataset.folder), "--output", str(tmp_path / "h")]) == 0
    assert "Concentration of engagements (click)" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "h").iterdir()} == {"history.json", "history.md", "history.png"}
    assert main(["history", str(dataset.folder), "--json", "--max-events-per-query-day", "50"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["events"] for row in found["caps"]["query"] if row["cap"] == 50] == [10]
    assert main(["history", str(dataset.folder), "--head", "like"]) == 1
    assert "no head 'like'" in capsys.readouterr().err
    assert main(["history", str(tmp_path)]) == 1
    assert "is not a prepared dataset" in capsys.readouterr().err


def test_without_users_or_weeks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [event("", "u", "q|[b]", "a", n, click=1) for n in range(3)]
    found = prepared(tmp_path, events, [item("a")], schema=minimal(), settings=ALL_TRAIN)
    report: dict[str, Any] = history_report(found)
    assert "user" not in report["concentration"]
    assert report["caps"]["user"] == report["busiest_days"]["user"] == []
    assert report["drift"] == {
        "days": 1,
        "overlap": {name: [] for name in report["drift"]["overlap"]},
        "gains": [],
    }
    assert "| q\\|[b] | 2024-01-01 | 3 | 3 | 3 |" in markdown(report)
    show(report)
    assert "q|[b]" in capsys.readouterr().out

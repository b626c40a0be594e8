"""Caps on the events of a user's or a query's day: what stays, what is counted, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interactrank.data.errors import DatasetError
from interactrank.data.prepare.remarks import remarks
from tests.data.logs import event, item, minimal, prepared, requests

ALL_TRAIN = {"split": {"validation_share": 0, "test_share": 0}}
USER = "events.user=user_id"
DAY = 1440  # minutes


def log() -> list[dict[str, Any]]:
    bot = [event("", "bot", f"q{n // 2}", "ab"[n % 2], n // 2, click=1) for n in range(8)]  # 4 requests of 2
    return [
        *bot,
        event("", "bot", "late", "a", DAY, click=1),  # the next day
        event("", "human", "q3", "a", 3, click=1),
        event("", "human", "q3", "b", 4, click=1),
    ]


def test_a_user_counts_up_to_the_cap_of_a_day(tmp_path: Path) -> None:
    found = prepared(
        tmp_path,
        log(),
        [item("a"), item("b")],
        schema=minimal(USER),
        settings=ALL_TRAIN | {"max_events_per_user_day": 3},
    )
    # 2 events before the second request, which is whole; 4 before the third and 6 before the fourth: 4 rows.
    assert [(r["user"], r["query"], r["candidates"]) for r in requests(found)] == [
        ("bot", "q0", [0, 1]),
        ("bot", "q1", [0, 1]),
        ("human", "q3", [0]),
        ("human", "q3", [1]),
        ("bot", "late", [0]),
    ]
    assert found.manifest["capped"] == {"max_events_per_user_day": 4}
    assert found.manifest["malformed"] == {}
    assert "4 events are left out by prepare.max_events_per_user_day" in remarks(found.manifest)


def test_a_query_counts_up_to_the_cap_of_a_day(tmp_path: Path) -> None:
    found = prepared(
        tmp_path,
        log(),
        [item("a"), item("b")],
        schema=minimal(USER),
        settings=ALL_TRAIN | {"max_events_per_query_day": 3, "strict": True},  # capped is not malformed
    )
    # q3: minute 3 has three rows of two users, which stay together; minute 4 comes after three.
    assert [r["user"] for r in requests(found) if r["query"] == "q3"] == ["bot", "human"]
    assert found.manifest["capped"] == {"max_events_per_query_day": 1}


def test_what_comes_later_on_the_day_changes_nothing_before(tmp_path: Path) -> None:
    settings = ALL_TRAIN | {"max_events_per_user_day": 3}
    short = [row for row in log() if row["timestamp"] < log()[4]["timestamp"]]
    some = prepared(tmp_path / "1", short, [item("a"), item("b")], schema=minimal(USER), settings=settings)
    every = prepared(tmp_path / "2", log(), [item("a"), item("b")], schema=minimal(USER), settings=settings)
    assert requests(every)[: len(requests(some))] == requests(some)


def test_a_cap_on_users_of_a_log_without_users(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"max_events_per_user_day needs schema\.events\.user"):
        prepared(
            tmp_path,
            log(),
            [item("a")],
            schema=minimal(),
            settings=ALL_TRAIN | {"max_events_per_user_day": 3},
        )

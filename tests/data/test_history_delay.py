"""With a delay, features see only what a store that is that far behind would have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactrank.core.settings import ConfigError
from interactrank.cross_features.text import normalize
from interactrank.data.prepared.dataset import PreparedDataset
from tests.data import logs
from tests.data.logs import DAY, HOUR, event, item, user
from tests.models.search import requests

TOUCH = "cross_features=[{kind: iqp, key: query, engagement: click}, {kind: touch, engagement: click}]"
ITEMS = [item("i1"), item("i2")]


def prepared(
    folder: Path, events: list[dict[str, Any]], items: Any, users: Any, delay: str
) -> PreparedDataset:
    schema = logs.schema(f"history_delay={delay}", TOUCH, without=("exclude_repeats",))
    return logs.prepared(folder, events, items, users, schema=schema)


@pytest.mark.parametrize(
    ("delay", "seen"),
    [("null", [0, 1, 2]), ("1h", [0, 0, 2]), ("2h", [0, 0, 2]), ("1d", [0, 0, 1]), ("2d", [0, 0, 0])],
)
def test_what_is_seen(tmp_path: Path, delay: str, seen: list[int]) -> None:
    # Clicks at 0:00 and 0:45, and requests at 0:00, 0:45 and a day after the 0:30 in between.
    events = [
        event("r1", "ada", "red", "i1", 0, click=1),
        event("r2", "ada", "red", "i1", 45, click=1),
        event("r3", "ada", "red", "i1", 30 + 24 * 60),
    ]
    log = prepared(tmp_path, events, ITEMS, [user("ada")], delay)
    rows = logs.requests(log)
    assert [r["cross.support"][0] for r in rows] == seen
    assert [len(r["events.item"]) for r in rows] == seen
    ages = [a for r in rows for a in r["events.age"]]
    assert all(a * HOUR >= {"null": 0, "1h": HOUR, "2h": 2 * HOUR}.get(delay, DAY) for a in ages)
    assert [r["time"] for r in rows] == [e["timestamp"] for e in events]  # the requests are where they were
    number = [
        r["cross.number"][0] for r in rows
    ]  # -log(1 + minutes) since the touch, from where the store is
    assert [bool(np.isfinite(n)) for n in number] == [s > 0 for s in seen]


def test_counts_of_a_random_log(tmp_path: Path) -> None:
    events, items, users = logs.random_log(5, requests=60)
    log = prepared(tmp_path, events, items, users, "1d")
    clicks = [
        (normalize(e["query"]), max(e["event_time"] or 0, e["timestamp"])) for e in events if e["click"]
    ]
    first = {}
    for e in events:
        first.setdefault(e["request_id"], e)
    checked = 0
    for split in ("train", "test"):
        for row in logs.requests(log, split):
            query, end = normalize(first[row["request_id"]]["query"]), row["time"] - DAY
            expected = sum(q == query and at < end for q, at in clicks)
            assert row["cross.support"][0] == expected
            checked += expected > 0
    assert checked > 20


def test_other_items_are_looked_up_with_the_same_delay(tmp_path: Path) -> None:
    log = prepared(tmp_path, *logs.random_log(5, requests=60), "1d")
    train = requests(log, "train")
    found = log.cross.look_up(train.keys(), train.positions("candidates"))
    candidates = train.candidates()
    assert np.array_equal(found.rate, candidates.rate)
    assert np.array_equal(found.number, candidates.number, equal_nan=True)


def test_a_delay_is_a_duration() -> None:
    with pytest.raises(ConfigError, match="history_delay: 'soon' is not a duration"):
        logs.schema("history_delay=soon")

"""No feature, look-up, sequence or label of a request depends on anything that came later.

A future is planted that would make any leaking feature perfect: from a moment on, every earlier request is
made again, by the same user with the same words, and leads to exactly the items that were right. Nothing may
change for the requests up to that moment, itself included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactrank.cross_features import CrossColumns
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.schema import SearchSchema
from tests.data.logs import DAY, START, event, prepared, random_log, requests, schema
from tests.own_feature import HoursSinceSettings

CUT = START + 45 * DAY  # training ends on day 40
SPLITS = ("train", "test")


def known(log: PreparedDataset) -> dict[str, str]:
    """Request -> all that is prepared for it; written out, so that NaN equals NaN."""
    rows = [r for s in SPLITS for r in requests(log, s) if r["time"] <= CUT]
    return {r["request_id"]: str(r) for r in rows if not r["request_id"].startswith("planted")}


def looked_up(log: PreparedDataset) -> dict[str, bytes]:
    """Request -> its cross features for the whole catalogue, as negatives and evaluation look them up."""
    result = {}
    for split in SPLITS:
        ids = [r["request_id"] for r in requests(log, split)]
        loader = SearchLoader(log, split, LoaderSettings(prefetch=0), shuffle=False)
        for part in loader.requests():
            times = part.table["time"].to_numpy()
            for row, (request, time) in enumerate(zip(part.index, times, strict=True)):
                if time <= CUT and not ids[request].startswith("planted"):
                    result[ids[request]] = features(log, part.take(np.array([row])))
    return result


def features(log: PreparedDataset, one: PreparedRequests) -> bytes:
    return b"".join(column.tobytes() for column in log.cross.look_up(one.keys()))


def plant(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every request up to the cut once more, from the very moment of the cut on, with perfect results."""
    planted = []
    for n, row in enumerate(e for e in events if e["timestamp"] <= CUT and (e["click"] or e["save"])):
        minutes = (CUT - START) / 60_000 + n % 3
        for again in range(3):
            planted.append(
                event(
                    f"planted{n}_{again}", row["user_id"], row["query"], row["item_id"], minutes,
                    click=5, save=1, split="test", session_id=row["session_id"], position=0,
                )
            )  # fmt: skip
    assert min(p["timestamp"] for p in planted) == CUT
    return planted


def with_own_feature(schema: SearchSchema) -> SearchSchema:
    """The schema with a cross feature that is registered from outside of the package."""
    return schema.model_copy(update={"cross_features": [*schema.cross_features, HoursSinceSettings()]})


@pytest.fixture(scope="module", params=["request", "session", "day", "month"])
def logs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreparedDataset, PreparedDataset, PreparedDataset]:
    wanted = with_own_feature(schema(f"sequence.end={request.param}"))
    folder = tmp_path_factory.mktemp("leakage")
    events, items, users = random_log(7)
    at_cut = [{**e, "request_id": "at_cut", "timestamp": CUT, "split": "test"} for e in events[:3]]
    events += [{**e, "user_id": "u1", "query": "red shoe", "event_time": None} for e in at_cut]
    engaged = next(e for e in events if e["click"] and e["timestamp"] <= CUT)
    again = {"request_id": "again", "timestamp": CUT + 5 * DAY, "split": "test", "session_id": "again"}
    events.append({**engaged, **again, "event_time": None})  # somebody will search for it again
    kept = [e for e in events if e["timestamp"] <= CUT]
    return (
        prepared(folder / "whole", events, items, users, schema=wanted),
        prepared(folder / "planted", [*plant(events), *events], items, users, schema=wanted),
        prepared(folder / "kept", kept, items, users, schema=wanted),
    )


@pytest.mark.slow
def test_a_planted_future_changes_nothing(
    logs: tuple[PreparedDataset, PreparedDataset, PreparedDataset],
) -> None:
    whole, planted, _ = logs
    assert len(known(whole)) > 55
    assert "at_cut" in known(whole)
    assert known(whole) == known(planted)
    assert looked_up(whole) == looked_up(planted)


def test_a_missing_future_changes_nothing(
    logs: tuple[PreparedDataset, PreparedDataset, PreparedDataset],
) -> None:
    whole, _, kept = logs
    assert known(whole) == known(kept)
    assert looked_up(whole) == looked_up(kept)


def test_the_planted_future_would_have_been_seen(
    logs: tuple[PreparedDataset, PreparedDataset, PreparedDataset],
) -> None:
    whole, planted, _ = logs

    def later(log: PreparedDataset) -> dict[str, Any]:
        return {r["request_id"]: r for r in requests(log, "test") if r["time"] > CUT + DAY}

    before, after = later(whole), later(planted)
    assert any(before[r]["cross.rate"] != after[r]["cross.rate"] for r in before)
    assert any(before[r]["cross.support"] != after[r]["cross.support"] for r in before)
    if whole.schema.sequence and whole.schema.sequence.end == "request":
        assert any(before[r]["events.item"] != after[r]["events.item"] for r in before)
        own = len(CrossColumns.of(whole.schema).numbers)
        hours = slice(own - 1, None, own)  # of the user's own past, which ends with the sequence
        assert any(
            str(before[r]["cross.number"][hours]) != str(after[r]["cross.number"][hours]) for r in before
        )


OUTCOMES = {"labels", "weights"}


@pytest.mark.parametrize("victim", ["r0", "r13", "r31", "r57", "r79"])
def test_a_requests_own_engagements_are_not_in_its_features(tmp_path: Path, victim: str) -> None:
    events, items, users = random_log(11)
    other = [
        {**e, "click": 1 - e["click"], "save": 1 - e["save"]} if e["request_id"] == victim else e
        for e in events
    ]
    before = prepared(tmp_path / "before", events, items, users, schema=with_own_feature(schema()))
    after = prepared(tmp_path / "after", other, items, users, schema=with_own_feature(schema()))
    changed = False
    for split in SPLITS:
        for a, b in zip(requests(before, split), requests(after, split), strict=True):
            mine = next(e["timestamp"] for e in events if e["request_id"] == victim)
            if a["time"] <= mine:
                names = a.keys() - (OUTCOMES if a["request_id"] == victim else set())
                assert str({n: a[n] for n in sorted(names)}) == str({n: b[n] for n in sorted(names)})
            changed |= a["labels"] != b["labels"]
    assert changed

"""A request that is made now is read as prepare read it in the log."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

from interactrank.data.prepared.columns import columns_to_train
from interactrank.serving import PreRanker, RequestError
from tests.data.logs import requests
from tests.serving.exported import Exported, live_request

REQUEST = {"query": "red shoe", "hour": 1.0, "query_vector": [1.0, 2.0]}


def columns(made: Exported) -> list[str]:
    """What the query tower and the cross features read of a request."""
    names = columns_to_train(made.log.read("test", ["time"]).schema.names, for_other_items=True)
    keys = [f"keys.{name}" for f in made.log.cross.features for name in f.key_names]
    features = [f"feature.{f.name}" for f in made.log.schema.features.request if f.is_sparse]
    events = ["events.item", "events.query", "events.action", "events.age"]
    return list(dict.fromkeys([*names, "history_end", "dense", *events, *features, *keys]))


@pytest.mark.parametrize("split", ["train", "test"])
def test_logged_requests_are_read_as_they_were_prepared(
    made: Exported, ranker: PreRanker, split: str
) -> None:
    prepared = requests(made.log, split)
    live = ranker._live.read([live_request(made, row["request_id"]) for row in prepared])
    names = columns(made)
    found = live.requests.table.select(names).to_pylist()
    assert len(prepared) > 10
    assert sum(len(row["events.item"]) for row in prepared) > 10
    for row, expected in zip(found, prepared, strict=True):
        for name in names:
            np.testing.assert_array_equal(row[name], expected[name], err_msg=name)
    assert live.keys.time.tolist() == [row["time"] for row in prepared]


def test_a_sequence_that_comes_with_the_request_counts_instead_of_the_logs(
    made: Exported, ranker: PreRanker
) -> None:
    row = next(r for r in requests(made.log, "test") if len(r["events.item"]) > 1)
    request = live_request(made, row["request_id"])
    logged = ranker._live.read([request]).requests.table
    events = [
        {
            "item": made.log.items.ids[item],
            "engagement": made.log.schema.sequence_engagements[action],
            "time": row["time"] - round(age * 3_600_000),
        }
        for item, action, age in zip(row["events.item"], row["events.action"], row["events.age"], strict=True)
    ]
    given = ranker._live.read([request | {"sequence": events}]).requests.table
    for name in ("events.item", "events.action", "events.age"):
        assert given[name].to_pylist() == logged[name].to_pylist()
    other, plain = (
        ranker._live.read([request | {"sequence": []}, request]).requests.table["events.item"].to_pylist()
    )
    assert other == []
    assert plain == row["events.item"]


def test_columns_of_the_users_file_may_come_with_the_request(made: Exported, ranker: PreRanker) -> None:
    known = REQUEST | {"user_id": "u1"}
    logged, given, unknown = (
        ranker._live.read([known, known | {"age": 99.0, "country": "fr"}, REQUEST | {"user_id": "nobody"}])
        .requests.table["dense"]
        .to_pylist()
    )
    age = [f.name for f in made.log.schema.features.request if f.kind == "number"].index("age")
    assert (logged[age], given[age]) == (21.0, 99.0)
    assert np.isnan(unknown[age])


def test_a_time_is_a_datetime_or_milliseconds_and_now_when_left_out(ranker: PreRanker) -> None:
    moment = datetime(2024, 2, 1, 12, tzinfo=timezone.utc)
    times = [moment, moment.replace(tzinfo=None), int(moment.timestamp() * 1000), None]
    found = ranker._live.read([REQUEST | {"timestamp": t} for t in times]).keys.time
    assert len(set(found[:3].tolist())) == 1
    assert found[3] > found[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hour": ...}, "request 1 has no 'hour'; give None if it is not known"),
        ({"quary": "x"}, r"request 1 has 'quary', which nothing reads; did you mean 'query'\?"),
        ({"query": 7}, "request 1: 'query' must be text, found int"),
        (
            {"timestamp": "today"},
            "request 1: a time is a datetime or whole milliseconds since 1970",
        ),
        ({"query_vector": [1.0]}, "has vectors of 1 numbers, the schema says dim: 2"),
        ({"hour": "late"}, "'hour' of a request cannot be read"),
        (
            {"sequence": [{"item": "i1", "engagement": "clik", "time": 1}]},
            "the engagement 'clik'; did you mean",
        ),
        ({"sequence": [{"item": "i1", "engagement": "click"}]}, "an event of its sequence has no time"),
        ({"sequence": [{"itemm": "i1"}]}, r"an event has 'itemm'; did you mean 'item'\?"),
    ],
)
def test_a_request_that_cannot_be_read(ranker: PreRanker, change: dict[str, Any], message: str) -> None:
    request = {k: v for k, v in (REQUEST | change).items() if v is not ...}
    with pytest.raises(RequestError, match=message):
        ranker._live.read([REQUEST | {"query_vector": None}, request])

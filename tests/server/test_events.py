"""What is recorded counts in the next request of every worker, and outlives the process."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.server.settings import ServedModel
from interactrank.serving import PreRanker
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported

NOW = 1_735_689_600_000  # 2025-01-01, later than the log
REQUEST = {"query": "red", "user_id": "u1", "hour": None, "query_vector": None}
CLICK = {
    "request_id": "r-new",
    "user_id": "u1",
    "query": "red",
    "item_id": "i3",
    "timestamp": NOW,
    "hour": 3,
    "click": 1,
}


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def client(made: Exported, events: Path) -> Iterator[TestClient]:
    with TestClient(make_app(settings_of(made.artifact, events=str(events))), base_url=HERE) as client:
        yield client


def support(client: TestClient, **more: Any) -> float:
    """How many clicks the history of the query ``red`` has, as an explanation tells."""
    body = {"request": REQUEST | more, "k": 1}
    why = client.post("/explain", json=body).json()["explanations"][0]
    return float(why["support"]["query_click"])


def test_a_click_counts_in_the_next_request_of_every_worker(
    made: Exported, events: Path, client: TestClient
) -> None:
    with TestClient(make_app(settings_of(made.artifact, events=str(events))), base_url=HERE) as other:
        before = support(client)
        found = client.post("/events", json={"events": [CLICK]})
        assert (found.status_code, found.json()) == (200, {"events": 1, "unknown": []})
        assert support(client) == before + 1
        assert support(other) == before + 1
        assert support(client, timestamp=NOW) == before  # strictly before the request
    with TestClient(make_app(settings_of(made.artifact, events=str(events))), base_url=HERE) as later:
        assert support(later) == before + 1
    assert "interactrank_events_total 1.0" in client.get("/metrics").text


def test_both_models_read_one_log(made: Exported, events: Path) -> None:
    settings = settings_of(made.artifact, events=str(events))
    both = {name: ServedModel(export=made.artifact) for name in ("a", "b")}
    with TestClient(make_app(settings.model_copy(update={"models": both})), base_url=HERE) as client:

        def of(model: str) -> float:
            body = {"request": REQUEST, "k": 1, "model": model}
            return float(
                client.post("/explain", json=body).json()["explanations"][0]["support"]["query_click"]
            )

        before = of("b")
        client.post("/events", json={"events": [CLICK]})
        assert (of("a"), of("b")) == (before + 1, before + 1)


def test_items_that_are_unknown_are_named(client: TestClient) -> None:
    found = client.post("/events", json={"events": [CLICK, CLICK | {"item_id": "nothing"}]}).json()
    assert found == {"events": 1, "unknown": ["nothing"]}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"query": " "}, "events.0.query", "match pattern"),
        ({"user_id": None}, "events.0.user_id", "valid"),
        ({"timestamp": 4_102_444_800_000}, "events", "'timestamp'"),  # the year 2100
        ({"click": -1}, "events.0.click", "greater than or equal to 0"),
        ({"clicks": 1}, "events.0.clicks", "did you mean 'click'"),
    ],
)
def test_wrong_events_are_refused_and_count_nowhere(
    client: TestClient, change: dict[str, Any], field: str, message: str
) -> None:
    before = support(client)
    found = client.post("/events", json={"events": [CLICK | change, CLICK]})
    assert (found.status_code, found.json()["error"]["field"]) == (422, field), found.text
    assert message in found.json()["error"]["message"]
    assert support(client) == before


def test_a_full_disk_is_told_and_the_client_asked_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = support(client)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        found = client.post("/events", json={"events": [CLICK]})
    assert (found.status_code, found.json()["error"]["code"]) == (503, "not_kept")
    assert "No space left" in found.json()["error"]["message"]
    assert support(client) == before
    assert client.post("/events", json={"events": [CLICK]}).status_code == 200
    assert support(client) == before + 1


def test_the_time_of_an_answer_is_later_than_what_was_recorded(
    client: TestClient, made: Exported, events: Path
) -> None:
    ahead = time.time_ns() // 1_000_000 + 5_000  # a clock that is a little ahead
    client.post("/events", json={"events": [CLICK | {"timestamp": ahead}]})
    assert client.post("/rank", json={"request": REQUEST}).json()["time"] >= ahead + 1
    assert PreRanker.open(made.artifact, events=events).fresh.histories().last == ahead


def test_without_a_log_nothing_is_recorded(made: Exported) -> None:
    with TestClient(make_app(settings_of(made.artifact)), base_url=HERE) as client:
        found = client.post("/events", json={"events": [CLICK]})
    assert (found.status_code, found.json()["error"]["code"]) == (501, "no_events")

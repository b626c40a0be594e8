"""Every endpoint answers, and every bad input gets one clear answer."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from interactrank.server.app import make_app
from interactrank.server.arrow_bodies import ARROW, KEY
from interactrank.server.settings import TOKEN
from interactrank.serving import PreRanker
from tests.data.logs import requests
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported, live_request

REQUEST = {"query": "red shoes", "user_id": "u1", "hour": 3, "query_vector": [0.5, 1.0]}


def logged(made: Exported, n: int = 0) -> dict[str, Any]:
    """A request of the log, with its time as JSON has it."""
    request = live_request(made, requests(made.log, "test")[n]["request_id"])
    return json.loads(orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY, default=list))


def test_rank_gives_what_the_pre_ranker_gives(made: Exported, client: TestClient) -> None:
    ranker = PreRanker.open(made.artifact)
    request = live_request(made, requests(made.log, "test")[0]["request_id"])
    body = {"request": logged(made), "k": 5}
    found = client.post("/rank", json=body)
    assert found.status_code == 200, found.text
    expected = ranker.rank(request, k=5)
    answer = found.json()
    assert answer["ids"] == expected.ids
    assert np.array_equal(np.float32(answer["scores"]), expected.scores)
    assert (answer["model"], answer["version"]) == ("main", ranker.version.name)
    assert not answer["degraded"]
    assert len(answer["request_id"]) == 32
    assert answer["time"] == request["timestamp"]


def test_rank_takes_candidates_filters_and_weights(made: Exported, client: TestClient) -> None:
    ranker = PreRanker.open(made.artifact)
    body = {
        "request": REQUEST,
        "candidates": ["i5", "i2", "nothing", "i9"],
        "k": 3,
        "filters": {"blocked": ["i9"], "allowed": None, "where": {"categories": ["c2"]}},
        "head_weights": {"only_click": 2.0},
    }
    answer = client.post("/rank", json=body).json()
    where = ranker.filters.mask(blocked=["i9"], where={"categories": ["c2"]})
    expected = ranker.rank(REQUEST, ["i5", "i2", "i9"], 3, where=where, head_weights={"only_click": 2.0})
    assert (answer["ids"], answer["unknown"]) == (expected.ids, ["nothing"])
    assert answer["ids"]


def test_a_sequence_counts_and_null_is_that_of_the_log(made: Exported, client: TestClient) -> None:
    def scores(**more: Any) -> list[float]:
        return client.post(
            "/rank", json={"request": REQUEST | {"timestamp": 1_704_100_000_000} | more}
        ).json()["scores"]

    event = {"item": "i3", "engagement": "click", "time": "2024-01-01T01:00:00Z"}
    assert scores(sequence=[event]) != scores()
    assert scores(sequence=None) == scores()


def test_explanations_add_up(client: TestClient) -> None:
    answer = client.post("/explain", json={"request": REQUEST, "k": 3}).json()
    assert len(answer["explanations"]) == 3
    for score, why in zip(answer["scores"], answer["explanations"], strict=True):
        parts = why["dot"] + sum(why["features"].values()) + why["correction"] + why["bias"]
        assert parts == pytest.approx(score, abs=1e-5)
        assert why["score"] == pytest.approx(score, abs=1e-5)


def stream(columns: dict[str, Any], rest: Any) -> bytes:
    table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(rest)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_arrow_in_and_out_is_json_in_and_out(client: TestClient) -> None:
    ids = ["i1", "i7", "none", "i4"]
    as_json = client.post("/rank", json={"request": REQUEST, "candidates": ids, "k": 2}).json()
    body = stream({"id": ids}, {"request": REQUEST, "k": 2})
    found = client.post("/rank", content=body, headers={"content-type": ARROW, "accept": ARROW})
    assert found.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(found.content).read_all()
    assert table["id"].to_pylist() == as_json["ids"]
    assert np.array_equal(table["score"].to_numpy(), np.float32(as_json["scores"]))
    facts = json.loads(table.schema.metadata[KEY])
    assert (facts["version"], facts["unknown"], facts["degraded"]) == (as_json["version"], ["none"], False)
    only_in = client.post("/rank", content=body, headers={"content-type": ARROW}).json()
    assert only_in["ids"] == as_json["ids"]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"request": None}, "request", "object"),
        ({"request": {}}, "request.query", "required, but missing"),
        ({"request": REQUEST | {"querry": "x"}}, "request.querry", r"unknown key; did you mean 'query'\?"),
        ({"request": REQUEST | {"query": None}}, "request.query", "string"),
        ({"request": REQUEST | {"query": "x" * 41}}, "request.query", "at most 40"),
        ({"request": REQUEST | {"hour": "noon"}}, "request.hour", "number"),
        ({"request": REQUEST | {"query_vector": [1]}}, "request.query_vector", "at least 2"),
        ({"request": REQUEST | {"timestamp": -1}}, "request.timestamp", "greater than or equal to 0"),
        ({"request": REQUEST | {"timestamp": "soon"}}, "request.timestamp", "input should be a valid"),
        ({"request": REQUEST | {"sequence": [{"item": "i1"}]}}, "request.sequence.0.engagement", "required"),
        (
            {"request": REQUEST | {"sequence": [{"item": "i1", "engagement": "clik", "time": 1}]}},
            "request.sequence.0.engagement",
            "did you mean 'click'",
        ),
        (
            {"request": REQUEST | {"sequence": [{"item": "i1", "engagement": "click", "time": 1}] * 4}},
            "request.sequence",
            "at most 3",
        ),
        ({"k": 0}, "k", "greater than or equal to 1"),
        ({"k": 21}, "k", "less than or equal to 20"),
        ({"k": "5"}, "k", "integer"),
        ({"candidates": ["i1"] * 51}, "candidates", "at most 50"),
        ({"candidates": [7]}, "candidates.0", "string"),
        ({"filters": {"where": {"categry": ["c1"]}}}, "filters.where.categry", "did you mean 'categories'"),
        ({"filters": {"where": {"categories": "c1"}}}, "filters.where.categories", "array"),
        ({"head_weights": {"lik": 1}}, "head_weights.lik", "did you mean 'like'"),
        ({"model": "other"}, "model", "should be 'main', found 'other'"),
        ({"timeout_ms": 0}, "timeout_ms", "greater than or equal to 1"),
        ({"timeout_ms": 1001}, "timeout_ms", "less than or equal to 1000"),
        ({"kk": 5}, "kk", "did you mean 'k'"),
    ],
)
def test_a_wrong_body_is_refused_with_its_field(
    client: TestClient, change: dict[str, Any], field: str, message: str
) -> None:
    found = client.post("/rank", json={"request": REQUEST} | change)
    assert found.status_code == 422, found.text
    error = found.json()["error"]
    assert (error["code"], error["field"]) == ("invalid", field)
    assert re.search(message, error["message"]), error["message"]


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "code"),
    [
        ("/rank", b"{", "application/json", 400, "not_json"),
        ("/rank", b"\xff\xfe", "application/json", 400, "not_json"),
        ("/rank", b"[]", "application/json", 422, "invalid"),
        ("/rank", b"{}", "text/plain", 415, "content_type"),
        ("/rank", b"{}", "", 415, "content_type"),
        ("/explain", b"{}", ARROW, 415, "content_type"),
        ("/rank", b" " * 20_001, "application/json", 413, "too_large"),
        ("/rank", b"not a stream", ARROW, 400, "not_arrow"),
        ("/rank", stream({"id": [1]}, {"request": REQUEST}), ARROW, 422, "invalid"),
        ("/rank", stream({"id": ["i1", None]}, {"request": REQUEST}), ARROW, 422, "invalid"),
        ("/rank", stream({"id": ["i1"] * 51}, {"request": REQUEST}), ARROW, 422, "invalid"),
        ("/rank", stream({"id": ["i1"], "price": [1]}, {"request": REQUEST}), ARROW, 422, "invalid"),
        ("/rank", stream({"id": ["i1"]}, {"request": {}}), ARROW, 422, "invalid"),
        ("/rank", stream({"id": ["i1"]}, {"request": REQUEST})[:-300], ARROW, 400, "not_arrow"),
    ],
)
def test_a_wrong_kind_of_body(
    client: TestClient, path: str, content: bytes, kind: str, status: int, code: str
) -> None:
    found = client.post(path, content=content, headers={"content-type": kind} if kind else {})
    assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text


def test_a_body_of_unknown_length_is_bounded_too(client: TestClient) -> None:
    found = client.post(
        "/rank", content=iter([b" " * 9_000] * 3), headers={"content-type": "application/json"}
    )
    assert found.status_code == 413


def test_a_schema_without_its_rest_is_refused(client: TestClient) -> None:
    table = pa.table({"id": ["i1"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found = client.post("/rank", content=sink.getvalue().to_pybytes(), headers={"content-type": ARROW})
    assert found.json()["error"]["message"].startswith("the schema's metadata has no key 'interactrank'")


def test_health_version_and_metrics(made: Exported, client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    version = PreRanker.open(made.artifact).version
    main = client.get("/version").json()["models"]["main"]
    assert main == {
        "version": version.name,
        "event_time": version.event_time,
        "items": 12,
        "share": 1.0,
        "refused": None,
    }
    client.post("/rank", json={"request": REQUEST})
    client.post("/rank", json={"request": REQUEST, "k": 0})
    text = client.get("/metrics").text
    assert f'interactrank_answers_total{{model="main",version="{version.name}"}}' in text
    assert 'interactrank_requests_total{path="/rank",status="422"}' in text
    assert 'interactrank_stage_seconds_count{stage="cross_features"}' in text


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert client.get("/rnk").json()["error"]["code"] == "not_found"
    found = client.get("/rank")
    assert (found.status_code, found.json()["error"]["code"]) == (405, "method")


def test_a_page_of_another_site_cannot_call_a_server_of_one_machine(client: TestClient) -> None:
    found = client.get("/version", headers={"host": "attacker.example:8000"})
    assert (found.status_code, found.json()["error"]["code"]) == (421, "host")
    assert client.get("/version", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/version", headers={"host": "[::1]:8000"}).status_code == 200


def test_what_writes_needs_the_token(made: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "s3cret")
    with TestClient(make_app(settings_of(made.artifact)), base_url=HERE) as client:
        for headers in ({}, {"authorization": "Bearer s3cre"}, {"authorization": "Basic s3cret"}):
            found = client.post("/events", json={}, headers=headers)
            assert (found.status_code, found.json()["error"]["code"]) == (401, "token")
        found = client.post("/events", json={}, headers={"authorization": "Bearer s3cret"})
        assert found.status_code == 422  # the token is right, the body is not
    monkeypatch.delenv(TOKEN)
    with TestClient(make_app(settings_of(made.artifact, host="0.0.0.0")), base_url=HERE) as client:
        found = client.post("/events", json={})
        assert (found.status_code, found.json()["error"]["code"]) == (403, "token")
        assert TOKEN in found.json()["error"]["message"]


def test_an_error_of_ours_is_told_without_its_text(
    made: Exported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **more: Any) -> None:
        raise RuntimeError("secret text")

    with TestClient(make_app(settings_of(made.artifact)), base_url=HERE) as client:
        monkeypatch.setattr(PreRanker, "rank", fail)
        found = client.post("/rank", json={"request": REQUEST})
    assert found.status_code == 500
    assert "secret" not in found.text
    assert found.json()["error"]["message"].rsplit(" ", 1)[1] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text.replace(
        'raise RuntimeError("secret text")', ""
    )  # the line of this test


def test_a_slow_request_is_logged_by_stage_without_the_user(
    made: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "interactrank.server.requests")
    with TestClient(make_app(settings_of(made.artifact, slow_ms=1e-6)), base_url=HERE) as client:
        client.post("/rank", json={"request": REQUEST, "candidates": ["i1", "i2"], "k": 1})
    line = json.loads(next(r.getMessage() for r in caplog.records if "slow_request" in r.getMessage()))
    assert (line["path"], line["status"], line["model"], line["candidates"]) == ("/rank", 200, "main", 2)
    assert {"body", "queue", "read", "towers", "dots", "cross_features", "best"} <= set(line["stages_ms"])
    assert "red shoes" not in json.dumps(line)
    assert "u1" not in json.dumps(line)


def test_a_part_of_the_catalogue_or_nearly_all_of_it_as_arrow(client: TestClient) -> None:
    """Few ids are looked up one by one, many in a table of all ids; both name what is unknown."""
    for ids in (["i3", "none"], [*(f"i{n}" for n in range(12)), "none", "i3"]):
        body = stream({"id": ids}, {"request": REQUEST, "k": 20})
        found = client.post("/rank", content=body, headers={"content-type": ARROW}).json()
        expected = client.post("/rank", json={"request": REQUEST, "candidates": ids, "k": 20}).json()
        assert (found["ids"], found["unknown"]) == (expected["ids"], ["none"])
        assert len(found["ids"]) == len(set(ids)) - 1
    large = pa.table({"id": pa.array(["i1"], pa.large_string())})
    body = stream({"id": large["id"]}, {"request": REQUEST})
    assert client.post("/rank", content=body, headers={"content-type": ARROW}).json()["ids"] == ["i1"]

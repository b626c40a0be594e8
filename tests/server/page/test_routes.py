"""The endpoints of the page give what the pre-ranker gives, and refuse what they cannot read."""

from __future__ import annotations

import gc
import re
import weakref
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from interactrank.cross_features import match_of_words
from interactrank.server.page import routes
from interactrank.server.page.routes import CONTENT_SECURITY_POLICY
from interactrank.serving import PreRanker
from tests.data.logs import DAY, START

SEARCH = {"query": "red shoe", "user": "u1", "time": START + 50 * DAY, "fields": {"hour": "7"}, "k": 5}
AT = START + 50 * DAY
REQUEST = {"query": "red shoe", "user_id": "u1", "timestamp": AT, "hour": 7.0, "query_vector": None}


def search(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post("/page/search", json=SEARCH | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def column(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in answer["columns"] if c["name"] == name)


def test_the_column_of_the_model_is_its_ranking_with_parts_that_add_up(
    page: TestClient, ranker: PreRanker
) -> None:
    answer, expected = search(page), ranker.rank(REQUEST, k=5, explain=True)
    found = column(answer, "model")
    assert [c["name"] for c in answer["columns"]] == ["bm25", "two_tower", "model"]
    assert found["title"] == "InteractRank"
    assert [r["id"] for r in found["results"]] == expected.ids
    assert [r["score"] for r in found["results"]] == pytest.approx(expected.scores.tolist())
    for place, (name, why) in enumerate(zip(expected.ids, expected.explanations or [], strict=True), 1):
        item = answer["items"][name]
        assert item["place"] == place
        assert sum(item["values"]) == pytest.approx(item["score"], abs=1e-5)
        assert item["values"][0] == pytest.approx(why.dot)
        for feature, support in why.support.items():
            assert item["support"][feature] == pytest.approx(support)


def test_bm25_is_the_cross_feature_and_the_dot_product_is_labelled_as_such(
    page: TestClient, ranker: PreRanker
) -> None:
    answer = search(page)
    feature = match_of_words(ranker.schema)
    assert feature is not None
    scores = ranker.cross.look_up_one(feature.name, ranker.read(REQUEST).keys)
    best = [n for n in np.argsort(-scores, kind="stable")[:5] if scores[n] > 0]
    assert [r["id"] for r in column(answer, "bm25")["results"]] == ranker.ids.of(np.array(best))
    dots = ranker.vectors.dots(ranker.terms(REQUEST)[0], None).numpy()
    dot = column(answer, "two_tower")
    assert [r["id"] for r in dot["results"]] == ranker.ids.of(np.argsort(-dots, kind="stable")[:5])
    assert dot["title"] == "Dot product alone"
    assert "not trained to rank by this part alone" in dot["note"]


def test_items_of_every_column_are_explained_with_their_place(page: TestClient, ranker: PreRanker) -> None:
    answer, whole = search(page), ranker.rank(REQUEST, k=len(ranker.ids))
    named = {r["id"] for c in answer["columns"] for r in c["results"]}
    assert set(answer["items"]) == named
    for name, item in answer["items"].items():
        assert item["place"] == whole.ids.index(name) + 1
        assert item["title"]


def test_the_average_item_is_the_mean_over_the_catalogue(page: TestClient, ranker: PreRanker) -> None:
    why = ranker.rank(REQUEST, k=len(ranker.ids), explain=True).explanations or []
    found = search(page)["average"]
    assert found[0] == pytest.approx(np.mean([w.dot for w in why]), abs=1e-5)
    assert sum(found) == pytest.approx(np.mean([w.score for w in why]), abs=1e-4)


def test_a_two_tower_model_has_its_own_column(ranker: PreRanker) -> None:
    class TwoTower(PreRanker):
        pass

    other = TwoTower(ranker.version)
    facts = {**ranker.version.facts, "model": {**ranker.version.facts["model"], "name": "two_tower"}}
    other.version = type(
        "Version", (), {**vars(ranker.version), "facts": facts, "event_time": 0, "name": "v2"}
    )()
    client = TestClient(Starlette(routes=routes(lambda: {"main": ranker, "other": other})))
    found = column(search(client), "two_tower")
    assert found["title"] == "Two-tower"
    assert [r["id"] for r in found["results"]] == ranker.rank(REQUEST, k=5).ids
    assert client.get("/page/about").json()["models"] == ["main"]


def test_another_version_answers_the_next_search_and_the_old_one_is_released(ranker: PreRanker) -> None:
    served = {"main": PreRanker(ranker.version)}
    client = TestClient(Starlette(routes=routes(lambda: served)))
    search(client)
    old = weakref.ref(served["main"])
    served["main"] = PreRanker(ranker.version)
    search(client)
    gc.collect()
    assert old() is None


def test_the_sequence_is_what_the_model_reads_and_a_click_changes_it(page: TestClient) -> None:
    before = search(page)
    click = {"item": "i4", "engagement": "save", "time": SEARCH["time"] - 1000, "query": "hat"}
    after = search(page, clicks=[click])
    assert len(before["sequence"]) == 3  # the schema's length
    first = after["sequence"][0]
    assert (first["id"], first["engagement"], first["query"]) == ("i4", "save", "hat")
    assert first["hours"] == pytest.approx(1 / 3600)
    assert after["sequence"][1:] == before["sequence"][:2]
    model = [column(a, "model")["results"] for a in (before, after)]
    assert model[0] != model[1]
    assert column(after, "bm25") == column(before, "bm25")  # reads no user


def test_about_has_the_fields_and_parts_of_the_schema(page: TestClient, ranker: PreRanker) -> None:
    about = page.get("/page/about").json()
    fields = {f["name"]: f for f in about["fields"]}
    assert set(fields) == {"hour", "age", "country"}  # a vector is not typed
    assert (fields["hour"]["kind"], fields["hour"]["file"]) == ("number", "events")
    assert fields["country"]["choices"] == ["de", "us"]
    assert (about["items"], about["version"]) == (12, ranker.version.name)
    assert {p["name"] for p in about["parts"][1:-2]} == set(ranker.model.score_head.reads)
    labels = {p["name"]: (p["group"], p["label"], p["means"]) for p in about["parts"]}
    assert labels["query_click_1d"] == ("query", "share of click, last 1d", "share")
    assert labels["query_click_rate"] == ("query", "click per impression", "rate")
    assert labels["bm25_words_title"] == ("lexical", "words of title", "number")


def test_suggestions_begin_with_the_text_and_then_have_a_word_that_does(page: TestClient) -> None:
    found = [s["value"] for s in page.get("/page/queries", params={"typed": " RED"}).json()["suggestions"]]
    assert found
    begins = [value.startswith("red") for value in found]
    assert begins == sorted(begins, reverse=True)
    assert all(re.search(r"\bred", value) for value in found)
    users = page.get("/page/users", params={"typed": "u"}).json()["suggestions"]
    assert {s["value"] for s in users} == {f"u{n}" for n in range(7)}
    assert page.get("/page/users", params={"typed": "nobody"}).json() == {"suggestions": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {"contry": "de"}}, "fields: the form has no 'contry'; did you mean 'country'?"),
        ({"fields": {"hour": "late"}}, "fields: 'hour' must be a number, found 'late'"),
        ({"k": 1000}, "k: Input should be less than or equal to 100"),
        ({"query": "x" * 1001}, "query: String should have at most 1000 characters"),
        ({"query": None}, "query: Input should be a valid string"),
        ({"quary": "x"}, "quary: Extra inputs are not permitted"),
        ({"model": "other"}, "model: there is none called 'other'"),
        ({"time": -1}, "time: Input should be greater than or equal to 0"),
        (
            {"clicks": [{"item": "i1", "engagement": "buy", "time": 1}]},
            "an event has the engagement 'buy'",
        ),
    ],
)
def test_bad_searches_get_one_clear_answer(page: TestClient, change: dict[str, Any], message: str) -> None:
    answer = page.post("/page/search", json=SEARCH | change)
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]


def test_other_bodies_are_refused(page: TestClient) -> None:
    form = page.post("/page/search", content=b"query=red", headers={"content-type": "text/plain"})
    large = page.post("/page/search", content=b" " * 300_000, headers={"content-type": "application/json"})
    broken = page.post("/page/search", content=b"{", headers={"content-type": "application/json"})
    assert (form.status_code, large.status_code, broken.status_code) == (415, 413, 422)
    assert page.get("/page/../setup.cfg").status_code == 404
    assert page.get("/", headers={"host": "evil.example"}).status_code == 421


def test_every_file_comes_with_a_strict_policy(page: TestClient) -> None:
    names = [f.name for f in (files("interactrank.server.page") / "static").iterdir()]
    assert len(names) > 8
    for path in ["/", "/page/about", *(f"/page/{name}" for name in names if name != "index.html")]:
        answer = page.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_the_page_has_nothing_inline_and_nothing_of_other_servers() -> None:
    for file in (files("interactrank.server.page") / "static").iterdir():
        text = file.read_text()
        if file.name.endswith(".html"):
            assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), file.name
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), (
            file.name
        )

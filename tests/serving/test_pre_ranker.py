"""The pre-ranker gives the scores of evaluation, and says why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from interactrank.cross_features import Jagged
from interactrank.data.loading.encode_items import encode_items
from interactrank.evaluation.scorers import ModelScorer
from interactrank.serving import PreRanker, RequestError
from tests.data.logs import requests
from tests.models import search
from tests.serving.exported import Exported, export, export_again, live_request


def expected_scores(made: Exported, head: int = 0) -> np.ndarray:
    """[R, N] scores of the test requests by the model that was exported."""
    scorer = ModelScorer(made.model, made.log, head, torch.device("cpu"))
    return scorer(search.requests(made.log, "test"), None).numpy()


def test_scores_are_those_of_evaluation(made: Exported, ranker: PreRanker) -> None:
    expected = expected_scores(made)
    for row, prepared in zip(expected, requests(made.log, "test"), strict=True):
        found = ranker.rank(live_request(made, prepared["request_id"]))
        assert len(found) == len(made.log.items)
        np.testing.assert_allclose(found.scores, row[found.rows], rtol=1e-5, atol=1e-5)
        assert (np.diff(found.scores) <= 0).all()
        assert found.ids == [made.log.items.ids[r] for r in found.rows]


def test_candidates_by_id_or_row_have_the_scores_of_the_catalogue(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[0]["request_id"])
    whole = ranker.rank(request)
    of = dict(zip(whole.ids, whole.scores, strict=True))
    ids = ["i5", "i2", "nothing", "i9", "i2"]
    by_id = ranker.rank(request, ids)
    assert by_id.unknown == ["nothing"]
    assert sorted(by_id.ids) == ["i2", "i5", "i9"]
    np.testing.assert_allclose(by_id.scores, [of[i] for i in by_id.ids], rtol=1e-5, atol=1e-5)
    by_row = ranker.rank(request, by_id.rows[::-1].copy(), k=2)
    assert by_row.ids == by_id.ids[:2]
    assert ranker.rank(request, []).ids == []


def test_many_requests_are_ranked_as_each_alone(made: Exported, ranker: PreRanker) -> None:
    some = [live_request(made, row["request_id"]) for row in requests(made.log, "test")[:5]]
    candidates = [None, ["i1", "i2"], np.array([3, 4, 5]), ["i7"], None]
    together = ranker.rank_many(some, candidates, k=4)
    for one, of, found in zip(some, candidates, together, strict=True):
        alone = ranker.rank(one, of, k=4)
        assert alone.ids == found.ids
        np.testing.assert_allclose(alone.scores, found.scores, rtol=1e-5, atol=1e-6)


def test_heads_are_mixed_by_weights(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[1]["request_id"])
    expected = 2 * expected_scores(made, 0)[1] - 0.5 * expected_scores(made, 1)[1]
    found = ranker.rank(request, head_weights={"like": 2.0, "only_click": -0.5})
    np.testing.assert_allclose(found.scores, expected[found.rows], rtol=1e-5, atol=1e-5)
    with pytest.raises(RequestError, match=r"head_weights: no head 'lik'; did you mean 'like'\?"):
        ranker.rank(request, head_weights={"lik": 1.0})


def test_the_parts_of_an_explanation_add_up(made: Exported, ranker: PreRanker) -> None:
    row = next(r for r in requests(made.log, "test") if any(r["cross.rate"]))
    found = ranker.rank(live_request(made, row["request_id"]), explain=True)
    assert found.explanations is not None
    np.testing.assert_allclose([e.score for e in found.explanations], found.scores, rtol=1e-4, atol=1e-5)
    item = row["candidates"][0]
    why = found.explanations[found.rows.tolist().index(item)]
    rates = [f.name for f in made.log.cross.columns.rates]
    assert [why.raw[name] for name in rates] == pytest.approx(row["cross.rate"][: len(rates)])
    assert [why.support[name] for name in rates] == pytest.approx(row["cross.support"])
    assert why.correction != 0
    assert set(why.raw) == set(made.model.score_head.reads)


def test_where_leaves_items_out(made: Exported, ranker: PreRanker) -> None:
    request = live_request(made, requests(made.log, "test")[0]["request_id"])
    all_of_them = ranker.rank(request).ids
    c1 = [f"i{n}" for n in range(12) if n % 3 == 1]
    where = ranker.filters.mask(where={"categories": ["C1 "]}, blocked=["i4", "nothing"])  # as texts are read
    assert ranker.rank(request, where=where).ids == [i for i in all_of_them if i in c1 and i != "i4"]
    where = ranker.filters.mask(allowed=["i3", "i8", "nothing"])
    assert ranker.rank(request, where=where).ids == [i for i in all_of_them if i in ("i3", "i8")]
    assert ranker.rank(request, ["i8", "i9"], where=where).ids == ["i8"]
    assert ranker.rank(request, where=np.zeros(12, bool)).ids == []
    with pytest.raises(
        RequestError, match=r"items have no field 'category' to choose by; did you mean 'categ"
    ):
        ranker.filters.mask(where={"category": ["c1"]})
    with pytest.raises(RequestError, match="give the values of 'categories' as a list"):
        ranker.filters.mask(where={"categories": "c1"})
    with pytest.raises(
        RequestError, match=r"where has shape \[3\]; it needs \[12\], a mask of the catalogue"
    ):
        ranker.rank(request, where=np.ones(3, bool))


def test_an_unknown_user_and_query_are_ranked(ranker: PreRanker) -> None:
    request = {"query": "\u96ea", "user_id": "nobody", "hour": None, "query_vector": None}
    assert len(ranker.rank(request, k=3)) == 3


def test_rows_outside_of_the_catalogue_and_unknown_items(made: Exported, ranker: PreRanker) -> None:
    request = {"query": "red", "hour": None, "query_vector": None}
    with pytest.raises(
        RequestError, match=r"rows of candidates lie in 3\.\.12; those of the catalogue are 0\.\.11"
    ):
        ranker.rank(request, np.array([3, 12]))
    strict = PreRanker.open(made.artifact, unknown_items="error")
    with pytest.raises(RequestError, match=r"the catalogue has no item 'zz' \(2 unknown candidates in all\)"):
        strict.rank(request, ["i1", "zz", "yy"])
    with pytest.raises(RequestError, match="k is 0; ask for at least one result"):
        ranker.rank(request, k=0)
    with pytest.raises(RequestError, match="features: the model has no candidate feature 'price'"):
        ranker.rank(request, ["i1"], features={"price": [1.0]})


def test_threads_share_a_pre_ranker(made: Exported) -> None:
    fresh = PreRanker.open(made.artifact)
    some = [live_request(made, row["request_id"]) for row in requests(made.log, "test")] * 3
    alone = PreRanker.open(made.artifact)
    expected = [alone.rank(request).ids for request in some]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda request: fresh.rank(request).ids, some)) == expected


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 5e-3), ("int8", 0.1)])
def test_smaller_vectors_score_nearly_alike(
    made: Exported, tmp_path: Path, precision: str, tolerance: float
) -> None:
    export_again(made, tmp_path, precision=precision)
    ranker = PreRanker.open(tmp_path)
    assert ranker.vectors.precision == precision
    expected = expected_scores(made)
    for row, prepared in zip(expected, requests(made.log, "test"), strict=True):
        found = ranker.rank(live_request(made, prepared["request_id"]))
        np.testing.assert_allclose(found.scores, row[found.rows], atol=tolerance)


def test_vectors_are_those_of_the_item_tower(made: Exported, ranker: PreRanker) -> None:
    assert np.array_equal(
        ranker.vectors.values, encode_items(made.model, made.log.items, made.log.layout).numpy()
    )


CANDIDATE_FEATURES = """schema.features.candidate=[
    {name: place, kind: number, column: offer}, {name: side, kind: id, column: source, values: 5}]"""


@pytest.fixture(scope="module")
def with_price(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An export of a model that reads what comes with the candidates."""
    return export(tmp_path_factory.mktemp("price"), CANDIDATE_FEATURES)


class TestCandidateFeatures:
    """What comes with the candidates, in a log as in a request."""

    def test_scores_are_those_of_evaluation(self, with_price: Exported) -> None:
        ranker = PreRanker.open(with_price.artifact)
        some = search.requests(with_price.log, "test")
        logged = some.positions("candidates")
        scorer = ModelScorer(with_price.model, with_price.log, 0, torch.device("cpu"))
        expected = scorer(some, logged).numpy()
        start = 0
        for row in requests(with_price.log, "test"):
            events = [e for e in with_price.events if e["request_id"] == row["request_id"]]
            place = {e["item_id"]: e for e in events}
            ids = [with_price.log.items.ids[i] for i in row["candidates"]]
            given = {
                "place": [place[i]["offer"] for i in ids],
                "side": [place[i]["source"] for i in ids],
            }
            found = ranker.rank(
                live_request(with_price, row["request_id"]), ids, 2, features=given, explain=True
            )
            assert found.explanations is not None
            parts = [why.score for why in found.explanations]  # two of them, in their place among all
            np.testing.assert_allclose(parts, found.scores, rtol=1e-4, atol=1e-5)
            of = dict(zip(ids, expected[start : start + len(ids)], strict=True))
            np.testing.assert_allclose(found.scores, [of[i] for i in found.ids], rtol=1e-5, atol=1e-5)
            start += len(ids)
        assert Jagged(logged.values, logged.lengths).lengths.sum() == start

    @pytest.mark.parametrize(
        ("candidates", "features", "message"),
        [
            (None, None, r"the model reads candidate features \(place, side\): name the candidates"),
            (["i1"], {"place": [1]}, "features: 'side' is absent; give a value for each candidate"),
            (["i1"], {"place": [1, 2], "side": [1]}, "features: 'place' has 2 values for 1 candidates"),
            (["i1"], {"place": ["far"], "side": [1]}, "'place' holds something else than numbers and None"),
            (
                ["i1"],
                {"place": [1], "side": [1], "sid": [1]},
                "no candidate feature 'sid'; did you mean 'side'",
            ),
        ],
    )
    def test_what_is_absent_or_wrong(
        self, with_price: Exported, candidates: object, features: object, message: str
    ) -> None:
        ranker = PreRanker.open(with_price.artifact)
        request = {"query": "red", "hour": None, "query_vector": None}
        with pytest.raises(RequestError, match=message):
            ranker.rank(request, candidates, features=features)

    def test_nan_is_unknown(self, with_price: Exported) -> None:
        ranker = PreRanker.open(with_price.artifact)
        request = {"query": "red", "hour": None, "query_vector": None}
        one, other = (
            ranker.rank(request, ["i1"], features={"place": [value], "side": [None]})
            for value in (None, float("nan"))
        )
        assert one.scores.tolist() == other.scores.tolist()
        assert np.isfinite(one.scores).all()

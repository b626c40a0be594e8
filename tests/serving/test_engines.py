"""The expressions of search engines, evaluated over the documents and requests that are written for them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interactrank.serving import PreRanker, RequestError
from interactrank.serving.engines import (
    ENGINES,
    OPENSEARCH_SCRIPT,
    VESPA_EXPRESSION,
    Engine,
    engine_query,
    engine_terms,
    write_engine,
)
from tests.data.logs import requests
from tests.serving.exported import Exported, export, live_request
from tests.serving.test_cross_scores import SPARSE


class Cells(dict[Any, float]):
    """A tensor of Vespa: coordinate -> value; a product joins what both have."""

    def __mul__(self, other: Cells) -> Cells:
        return Cells({at: value * other[at] for at, value in self.items() if at in other})


def cells(value: Any) -> Any:
    """A tensor from its JSON form; a number stays one."""
    if not isinstance(value, dict):
        return value
    return Cells(value["cells"] if "cells" in value else dict(enumerate(value["values"])))


def by_vespa(query: dict[str, Any], documents: Iterator[dict[str, Any]]) -> dict[str, float]:
    found = {}
    for document in documents:
        fields = document["fields"]
        names = {name: name for name in ("q", "base", "history", "embedding", "label")}
        found[fields["item_id"]] = eval(
            VESPA_EXPRESSION,
            {
                "query": lambda name: cells(query[f"input.query({name})"]),
                "attribute": lambda name, fields=fields: cells(fields[name]),
                "sum": lambda tensor: math.fsum(tensor.values()),
                **names,
            },
        )
    return found


class Defaults(dict[str, float]):
    """A map of Painless."""

    def getOrDefault(self, key: str, value: float) -> float:
        return self.get(key, value)


def by_opensearch(query: dict[str, Any], documents: Iterator[dict[str, Any]]) -> dict[str, float]:
    script = query["query"]["script_score"]["script"]
    assert script["source"] == OPENSEARCH_SCRIPT
    params = SimpleNamespace(**script["params"] | {"history": Defaults(script["params"]["history"])})
    found = {}
    for action, document in zip(documents, documents, strict=True):
        doc = {"item_id": SimpleNamespace(value=document["item_id"]), "embedding": document["embedding"]}
        score = eval(
            OPENSEARCH_SCRIPT,
            {
                "Math": math,
                "params": params,
                "doc": doc,
                "innerProduct": lambda a, b: math.fsum(x * y for x, y in zip(a, b, strict=True)),
            },
        )
        assert 0 <= score <= 1
        found[action["index"]["_id"]] = math.log(score / (1 - score))
    return found


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An export of a model whose cross features know about few items."""
    return export(tmp_path_factory.mktemp("sparse"), f"schema.{SPARSE}", "models=[interactrank]")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engines_expression_gives_our_scores(sparse: Exported, tmp_path: Path, engine: Engine) -> None:
    ranker = PreRanker.open(sparse.artifact)
    schema, items = write_engine(ranker, engine, tmp_path)
    assert str(ranker.vectors.dim) in schema.read_text()
    evaluate = by_vespa if engine == "vespa" else by_opensearch
    histories = []
    for row in requests(sparse.log, "test"):
        request = live_request(sparse, row["request_id"])
        terms = engine_terms(ranker, request)
        query = json.loads(json.dumps(engine_query(terms, engine)))
        found = evaluate(query, map(json.loads, items.read_text().splitlines()))
        expected = ranker.rank(request)
        assert found.keys() == set(expected.ids)
        assert [found[i] for i in expected.ids] == pytest.approx(expected.scores.tolist(), rel=1e-4, abs=1e-4)
        histories.append(len(terms.history))
    assert 0 < max(histories) <= 12


def test_a_model_that_knows_about_every_item(ranker: PreRanker) -> None:
    request = {"query": "red", "hour": None, "query_vector": None}
    with pytest.raises(RequestError, match=r"cannot compute this model's score: some cross feature knows"):
        engine_terms(ranker, request)

"""A search engine computes the score itself: Vespa by a rank profile, OpenSearch by a script.

The score of an item is <q, item> + base + history[item]. q and base depend on the request; history is sparse,
as nothing is known about most items. So documents hold the item vector and the id, and a request brings the
rest. Files and requests follow the engines' documentation; their expressions are evaluated in the tests, they
were not run in an engine. Shapes: N items of the catalogue, D embedding dim.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from interactrank.core.files import atomic_write
from interactrank.serving.errors import RequestError
from interactrank.serving.pre_ranker import PreRanker

__all__ = ["ENGINES", "Engine", "Terms", "engine_query", "engine_terms", "write_engine"]

Engine = Literal["vespa", "opensearch"]
ENGINES: tuple[Engine, ...] = ("vespa", "opensearch")

VESPA_EXPRESSION = (
    "sum(query(q) * attribute(embedding)) + query(base) + sum(query(history) * attribute(label))"
)
_VESPA_SCHEMA = """schema item {
  document item {
    field item_id type string { indexing: attribute | summary }
    field label type tensor<float>(item{}) { indexing: attribute }  # 1 for the item itself
    field embedding type tensor<float>(x[%d]) { indexing: attribute }
  }
  rank-profile pre_rank {
    inputs {
      query(q) tensor<float>(x[%d])
      query(base) double
      query(history) tensor<float>(item{})
    }
    first-phase { expression: %s }
  }
}
"""
# A score of OpenSearch must not be negative, and the logistic function keeps the order.
OPENSEARCH_SCRIPT = (
    "1 / (1 + Math.exp(-(innerProduct(params.q, doc['embedding']) + params.base"
    " + params.history.getOrDefault(doc['item_id'].value, 0.0))))"
)
_BLOCK = 10_000  # documents in memory at a time


class Terms(NamedTuple):
    """What a request adds to the documents.

    Args:
        q: [D] numbers.
        base: of every item.
        history: item id -> what it has beyond that.
    """

    q: list[float]
    base: float
    history: dict[str, float]


def engine_terms(
    ranker: PreRanker, request: Mapping[str, Any], head_weights: Mapping[str, float] | None = None
) -> Terms:
    """Return the terms of a request; for any item, <q, item> + base + history is its score.

    Args:
        ranker: an export, opened.
        request: as for :meth:`PreRanker.rank`.
        head_weights: as there.

    Raises:
        RequestError: the request cannot be read; or a cross feature of the model knows something about every
            item (key ``all``, ``of:``) or comes with the candidates, so that no short list can say it.
    """
    vector, rest, known = ranker.terms(request, head_weights)
    if known is None:
        raise RequestError(
            "a search engine cannot compute this model's score: some cross feature knows something about "
            "every item (key all, or of: a field) or comes with the candidates; rank with PreRanker"
        )
    base = float(rest[-1])
    history = dict(zip(ranker.ids.of(known), (rest[:-1] - base).tolist(), strict=True))
    return Terms(vector.tolist(), base, history)


def engine_query(terms: Terms, engine: Engine, k: int = 1000) -> dict[str, Any]:
    """Return the body of a request to the engine, to which what is searched for must be added.

    Args:
        terms: of the request.
        engine: ``vespa`` or ``opensearch``.
        k: results.
    """
    if engine == "vespa":
        return {
            "ranking": "pre_rank",
            "hits": k,
            "input.query(q)": {"values": terms.q},
            "input.query(base)": terms.base,
            "input.query(history)": {"cells": terms.history},
        }
    script = {"source": OPENSEARCH_SCRIPT, "params": terms._asdict()}
    return {"size": k, "query": {"script_score": {"query": {"match_all": {}}, "script": script}}}


def write_engine(ranker: PreRanker, engine: Engine, folder: Path) -> list[Path]:
    """Write the engine's schema and the documents of all items.

    Args:
        ranker: an export, opened.
        engine: ``vespa`` or ``opensearch``.
        folder: of the files, which are replaced.

    Returns:
        The files: ``item.sd`` or ``mapping.json``, and ``items.jsonl`` in the form of the engine's bulk feed.
    """
    dim = ranker.vectors.dim
    if engine == "vespa":
        name, text = "item.sd", _VESPA_SCHEMA % (dim, dim, VESPA_EXPRESSION)
    else:
        vector = {"type": "knn_vector", "dimension": dim}
        fields = {"item_id": {"type": "keyword"}, "embedding": vector}
        settings = {"settings": {"index": {"knn": True}}, "mappings": {"properties": fields}}
        name, text = "mapping.json", json.dumps(settings, indent=1) + "\n"
    schema = atomic_write(folder / name, lambda path: path.write_text(text))
    return [schema, atomic_write(folder / "items.jsonl", lambda path: _write_items(ranker, engine, path))]


def _write_items(ranker: PreRanker, engine: Engine, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, len(ranker.ids), _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, len(ranker.ids)))
            vectors = ranker.vectors.as_float32(rows).tolist()
            for item, vector in zip(ranker.ids.of(rows), vectors, strict=True):
                for line in _documents(engine, item, vector):
                    file.write(json.dumps(line) + "\n")


def _documents(engine: Engine, item: str, vector: list[float]) -> list[dict[str, Any]]:
    """Return the lines of an item."""
    if engine == "vespa":
        fields = {"item_id": item, "label": {"cells": {item: 1.0}}, "embedding": {"values": vector}}
        return [{"put": f"id:item:item::{item}", "fields": fields}]
    return [{"index": {"_id": item}}, {"item_id": item, "embedding": vector}]

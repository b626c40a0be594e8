"""The rankings that stand next to one another: BM25, the dot product alone, and the model.

Shapes: N items of the catalogue, K results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from interactrank.cross_features.pair_index import Int64s
from interactrank.server.page.inputs import Search
from interactrank.server.page.parts import values_of
from interactrank.server.page.shown import Shown
from interactrank.serving import Ranking, RequestError
from interactrank.serving.live_requests import Live
from interactrank.serving.selection import top_k

__all__ = ["Column", "Compared", "Judged", "Result", "average", "compare"]

SAMPLE = 200  # items by which the average item is told
PLACES = 1000  # of the model's ranking that are known


class Result(NamedTuple):
    """A place of a ranking.

    Args:
        id: of the item.
        score: by which it is ranked.
    """

    id: str
    score: float


class Judged(NamedTuple):
    """What the model makes of an item.

    Args:
        place: in its ranking of the whole catalogue, 1 the best; None behind the first :data:`PLACES`.
        score: the sum of ``values``.
        values: what each part adds.
        raw, support: part -> the numbers behind it.
    """

    place: int | None
    score: float
    values: list[float]
    raw: Mapping[str, float]
    support: Mapping[str, float]


class Column(NamedTuple):
    """A ranking.

    Args:
        name: ``bm25``, ``two_tower`` or ``model``.
        title: for people.
        note: what the score is, in a sentence; or why there are no results.
        results: the best first; None if the ranking cannot be had.
    """

    name: str
    title: str
    note: str
    results: list[Result] | None


class Compared(NamedTuple):
    """A search, ranked in each way.

    Args:
        columns: next to one another, the model last.
        judged: id of each item in any column that the model's catalogue has -> what the model makes of it.
    """

    columns: list[Column]
    judged: dict[str, Judged]


def compare(
    shown: Shown, request: dict[str, Any], live: Live, search: Search, other: Shown | None
) -> Compared:
    """Rank a request in each way.

    Args:
        shown: the model.
        request: as it reads it.
        live: the same, read.
        search: where the request comes from.
        other: a two-tower model that was exported apart; None for the dot product of the model.

    Raises:
        RequestError: the model cannot rank the request.
    """
    own = _rank(shown, request, max(search.k, PLACES))
    best = _results(own.ids[: search.k], own.scores)
    model = Column("model", _name(shown), _note(shown), best)
    two_tower = _dots(shown, request, search.k) if other is None else _two_tower(other, search)
    columns = [_bm25(shown, live, search.k), two_tower, model]
    ids = list(dict.fromkeys(r.id for c in columns for r in c.results or ()))
    rows = shown.ranker.ids.rows(ids)
    places = {item: place for place, item in enumerate(own.ids, 1)}
    return Compared(columns, _judge(shown, request, rows[rows >= 0], places))


def average(shown: Shown, request: dict[str, Any]) -> list[float]:
    """Return what each part adds to an average item's score, told by items from all over the catalogue."""
    size = len(shown.ranker.ids)
    rows = np.unique(np.linspace(0, size - 1, min(SAMPLE, size)).astype(np.int64))
    found = _rank(shown, request, len(rows), rows, explain=True).explanations or []
    return [float(v) for v in np.mean([values_of(why, shown.parts) for why in found], axis=0)]


def _bm25(shown: Shown, live: Live, k: int) -> Column:
    if shown.match is None:
        note = "The schema has no cross feature of kind bm25 over words, so the export has no index of texts."
        return Column("bm25", "BM25", note, None)
    scores = torch.from_numpy(shown.ranker.cross.look_up_one(shown.match.name, live.keys, None))
    at = top_k(scores, k)
    at = at[scores[at] > 0]  # what shares no word is not a match
    texts = " and ".join(shown.match.columns)
    note = f"The share of the query's weight that the item's {texts} matches. No user, no history."
    return Column("bm25", "BM25", note, _results(shown.ranker.ids.of(at.numpy()), scores[at]))


def _dots(shown: Shown, request: dict[str, Any], k: int) -> Column:
    query = shown.ranker.terms(request)[0]
    scores = shown.ranker.vectors.dots(query, None)
    at = top_k(scores, k)
    note = "The same model without its cross features: it was not trained to rank by this part alone."
    found = _results(shown.ranker.ids.of(at.numpy()), scores[at])
    return Column("two_tower", "Dot product alone", note, found)


def _two_tower(other: Shown, search: Search) -> Column:
    try:
        found = _rank(other, other.request(search), search.k)
    except RequestError as error:
        return Column("two_tower", "Two-tower", f"This model cannot rank the search: {error}", None)
    note = "A model of its own, trained to rank by the dot product of query and item."
    return Column("two_tower", "Two-tower", note, _results(found.ids, found.scores))


def _judge(
    shown: Shown, request: dict[str, Any], rows: Int64s, places: Mapping[str, int]
) -> dict[str, Judged]:
    if not len(rows):
        return {}
    found = _rank(shown, request, len(rows), rows, explain=True)
    return {
        item: Judged(places.get(item), float(score), values_of(why, shown.parts), why.raw, why.support)
        for item, score, why in zip(found.ids, found.scores, found.explanations or [], strict=True)
    }


def _note(shown: Shown) -> str:
    if not shown.parts[1:-2]:
        return "The dot product of query and item."
    note = "Dot product, histories and text match, each with its learned weight."
    if shown.schema.features.candidate:
        names = ", ".join(f.name for f in shown.schema.features.candidate)
        note += f" What comes with each candidate ({names}) is unknown here."
    return note


def _rank(
    shown: Shown, request: dict[str, Any], k: int, rows: Int64s | None = None, *, explain: bool = False
) -> Ranking:
    names = [f.name for f in shown.schema.features.candidate]
    if names and rows is None:  # such a model wants its candidates by name
        rows = np.arange(len(shown.ranker.ids))
    features = None if rows is None else {name: [None] * len(rows) for name in names}
    return shown.ranker.rank(request, rows, k, features=features, explain=explain)


def _results(ids: list[str], scores: Any) -> list[Result]:
    return [Result(item, float(score)) for item, score in zip(ids, scores, strict=False)]


def _name(shown: Shown) -> str:
    name = shown.ranker.version.facts["model"]["name"]
    return {"interactrank": "InteractRank", "two_tower": "Two-tower"}.get(name, str(name))

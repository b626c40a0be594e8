"""A catalogue, the history of some queries and requests for them, as a serving engine holds them.

Shapes: N items, C candidates, D embedding dim, X history features.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interactrank.cross_features import (
    CrossColumns,
    CrossFeatures,
    EngagementCountStore,
    Jagged,
    RequestKeys,
    features_of,
)
from interactrank.models.scoring import ScoreHead
from interactrank.models.settings import ModelSettings
from interactrank.schema import SearchSchema

DIM, QUERIES, ENGAGED, ENGAGEMENTS = 64, 60, 2000, 6000  # of a query: items, and times that they were clicked
DAYS, DAY_MS = 730, 24 * 3_600_000
NOW = DAYS * DAY_MS
ROWS, REQUESTS = 400_000, 400  # rows of all requests of a size: more than a cache holds; requests at most
PRIOR, STRENGTH, DOT_WEIGHT = 1e-6, 10.0, 20.0
SCHEMA = SearchSchema.model_validate(
    {
        "events": {"item": "i", "query": "q", "time": "t", "user": "u", "engagements": {"click": "c"}},
        "items": {"id": "i"},
        "users": {"id": "u"},
        "segments": {"country": "users", "gender": "users"},
        "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
        "tables": {},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "cross_features": [
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "730d"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "365d"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "90d"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "730d", "segment": "country"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "730d", "segment": "gender"},
        ],
    }
)
STORES = list(dict.fromkeys(str(f.store) for f in features_of(SCHEMA)))
KEYS = list(dict.fromkeys(name for f in features_of(SCHEMA) for name in f.key_names))
Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """A query with its candidates.

    Args:
        vector: [1, 1, D], the heads of the query tower mixed into one.
        rows: [C] int64, of the catalogue.
        compact: [C, D], a copy of their vectors side by side: what no engine has.
        zeros: [C] int64, the request of each candidate.
        keys: of the query's history.
        candidates: the same rows for the history.
    """

    vector: Tensor
    rows: Tensor
    compact: Tensor
    zeros: Tensor
    keys: RequestKeys
    candidates: Jagged


class Engine:
    """Item embeddings, and the engagements of some queries with items.

    Args:
        items: N.
        device: of the embeddings.
    """

    def __init__(self, items: int, device: torch.device) -> None:
        self.num_items, self.device = items, device
        self.random = np.random.default_rng(0)
        torch.manual_seed(0)
        self.items = F.normalize(torch.randn(items, DIM, device=device), dim=-1)
        self.queries = F.normalize(torch.randn(QUERIES, 1, 1, DIM, device=device), dim=-1)
        engaged = min(ENGAGED, items // 4)
        self.engaged = [self.random.choice(items, engaged, replace=False) for _ in range(QUERIES)]
        self.events = [self._events() for _ in STORES]
        with tempfile.TemporaryDirectory() as folder:  # its files stay mapped
            stores = {
                name: EngagementCountStore.from_events(Path(folder) / name, *events)
                for name, events in zip(STORES, self.events, strict=True)
            }
        self.features = CrossFeatures(features_of(SCHEMA), stores=stores, num_items=items)

    def requests(self, candidates: int) -> list[Request]:
        """Enough of them that no row is used again soon; up to half of C are items with a history."""
        found = []
        for n in range(max(2, min(REQUESTS, ROWS // candidates))):
            query = n % QUERIES
            known = self.engaged[query][: candidates // 2]
            others = self.random.choice(self.num_items, candidates, replace=False)
            others = others[~np.isin(others, known)][: candidates - len(known)]
            rows = self.random.permutation(np.concatenate([known, others]))
            at = torch.from_numpy(rows).to(self.device)
            one = np.ones(1, np.int64)
            keys = {name: Jagged(query * one, one) for name in KEYS}
            found.append(
                Request(
                    self.queries[query],
                    at,
                    self.items[at],
                    torch.zeros_like(at),
                    RequestKeys(keys, NOW * one, NOW * one),
                    Jagged(rows, candidates * one),
                )
            )
        return found

    def history_scores(self, request: Request) -> NDArray[np.float64]:
        """[C] scores by the formula, counted one after the other: w <q, i> + sum of log rates."""
        dots = request.compact.double().cpu().numpy() @ request.vector.double().cpu().numpy().ravel()
        scores = DOT_WEIGHT * dots
        query = request.keys.keys[KEYS[0]].values[0]
        for feature in features_of(SCHEMA):
            keys, items, times = self.events[STORES.index(str(feature.store))]
            found = items[(keys == query) & (times >= NOW - feature.settings.window_ms)]
            counts = np.bincount(found, minlength=self.num_items)[request.candidates.values]
            scores += np.log((counts + STRENGTH * PRIOR) / (len(found) + STRENGTH))
        return scores

    def _events(self) -> tuple[Int64s, Int64s, Int64s]:
        """(query, item, time) of the engagements in one segment: each item once, some of them more often."""
        items = []
        for engaged in self.engaged:
            more = self.random.choice(engaged, ENGAGEMENTS * len(engaged) // ENGAGED - len(engaged))
            items.append(np.concatenate([engaged, more]))
        keys = np.repeat(np.arange(QUERIES), [len(x) for x in items])
        return keys, np.concatenate(items), self.random.integers(0, NOW, len(keys))


@cache
def engine(items: int, device: str) -> Engine:
    """Made once for all sizes."""
    return Engine(items, torch.device(device))


def score_head_of(*, history: bool, heads: int = 1) -> ScoreHead:
    """The library's score with its first weights: 20 for the dot product, 1 for each history feature."""
    settings = ModelSettings.model_validate(
        {
            "use_cross_features": history,
            "cross_features": {"prior_strength": STRENGTH, "priors": {"iqp": PRIOR}, "hidden_dims": []},
            "initial_dot_weight": DOT_WEIGHT,
            "initial_cross_weight": 1.0,
        }
    )
    columns = CrossColumns.of(SCHEMA)
    return ScoreHead(heads=heads, columns=columns, num_items=1, settings=settings).eval()

"""A catalogue, the history of some queries and requests for them, as a serving engine holds them.

Shapes: N items, C candidates, D embedding dim, X history features.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import (
    CrossColumns,
    CrossFeatures,
    EngagementCountStore,
    ItemFields,
    Jagged,
    RequestKeys,
    features_of,
)
from interactrank.models.scoring import ScoreHead
from interactrank.models.settings import ModelSettings
from interactrank.schema import SearchSchema

DIM, QUERIES, ENGAGED, ENGAGEMENTS = 64, 60, 2000, 6000  # of a query: items, and times that they were clicked
SHOWN, TOUCHED, BRANDS = 3, 200, 1000  # impressions of a click; clicks of a user; brands of items
DAYS, DAY_MS = 730, 24 * 3_600_000
NOW = DAYS * DAY_MS
ROWS, REQUESTS = 400_000, 400  # rows of all requests of a size: more than a cache holds; requests at most
STRENGTH, DOT_WEIGHT = 10.0, 20.0
SCHEMA = SearchSchema.model_validate(
    {
        "events": {
            "item": "i",
            "query": "q",
            "time": "t",
            "user": "u",
            "engagements": {"click": "c"},
            "impressions": True,
        },
        "items": {"id": "i"},
        "users": {"id": "u"},
        "segments": {"country": "users"},
        "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
        "tables": {},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "cross_features": [
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "730d"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "90d"},
            {"kind": "iqp", "key": "query", "engagement": "click", "window": "730d", "segment": "country"},
            {"kind": "iqp", "key": "query", "engagement": "click", "statistic": "rate"},
            {"kind": "iqp", "key": "all", "engagement": "click", "statistic": "rate"},
            {"kind": "iqp", "key": "all", "engagement": "click", "statistic": "rate", "of": "brand"},
            {"kind": "iqp", "key": "user", "engagement": "click", "statistic": "count", "of": "brand"},
            {"kind": "touch", "statistic": "recency"},
        ],
    }
)
STORES = {name: f.settings for f in features_of(SCHEMA) for name in f.stores}
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
        self.brands = self.random.integers(0, BRANDS, items)
        self.clicks = self._clicks()
        with tempfile.TemporaryDirectory() as folder:  # its files stay mapped
            stores = {
                name: EngagementCountStore.from_events(Path(folder) / name, *self._events(name, settings))
                for name, settings in STORES.items()
            }
        brand = Jagged(self.brands.astype(np.int32), np.ones(items, np.int64))
        self.features = CrossFeatures(
            features_of(SCHEMA),
            stores=stores,
            num_items=items,
            fields={"brand": ItemFields(brand, np.arange(BRANDS))},
        )

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
            keys = {name: Jagged((0 if name == "iqp-all" else query) * one, one) for name in KEYS}
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
        """[C] scores of NumPy's look-up and PyTorch's head, the dot product in float64."""
        dots = request.compact.double().cpu().numpy() @ request.vector.double().cpu().numpy().ravel()
        found = self.features.look_up(request.keys, request.candidates)
        rest = score_head_of(history=True).rest(CrossFeatureTensors(*map(torch.from_numpy, found)))
        return DOT_WEIGHT * dots + rest[:, 0].double().numpy()

    def _clicks(self) -> tuple[Int64s, Int64s, Int64s]:
        """(query, item, time) of engagements: each item of a query once, some of them more often."""
        items = []
        for engaged in self.engaged:
            more = self.random.choice(engaged, ENGAGEMENTS * len(engaged) // ENGAGED - len(engaged))
            items.append(np.concatenate([engaged, more]))
        keys = np.repeat(np.arange(QUERIES), [len(x) for x in items])
        return keys, np.concatenate(items), self.random.integers(0, NOW, len(keys))

    def _events(self, store: str, settings: Any) -> tuple[Int64s, Int64s, Int64s]:
        """(key, item or brand, time) of a store."""
        if settings.kind == "touch" or settings.key == "user":
            keys = np.repeat(np.arange(QUERIES), TOUCHED)
            items = self.random.integers(0, self.num_items, len(keys))
            times = self.random.integers(0, NOW, len(keys))
        elif settings.segment is not None:
            keys, items, times = self._clicks()
        else:
            keys, items, times = self.clicks
            if "SHOWN" in store:  # with each click, and others
                others = self.random.integers(0, self.num_items, SHOWN * len(keys))
                keys = np.concatenate([keys, np.repeat(keys, SHOWN)])
                items = np.concatenate([items, others])
                times = np.concatenate([times, self.random.integers(0, NOW, len(others))])
            if settings.key == "all":
                keys = keys * 0
        return keys, items if settings.of is None else self.brands[items], times


@cache
def engine(items: int, device: str) -> Engine:
    """Made once for all sizes."""
    return Engine(items, torch.device(device))


def score_head_of(*, history: bool, heads: int = 1, hidden: tuple[int, ...] = (16,)) -> ScoreHead:
    """The library's score with its first weights: 20 for the dot product, 1 for each history feature.

    Its correction of the cross features has the default's layers, and adds 0 at first.
    """
    settings = ModelSettings.model_validate(
        {
            "use_cross_features": history,
            "cross_features": {"prior_strength": STRENGTH, "priors": {}, "hidden_dims": list(hidden)},
            "initial_dot_weight": DOT_WEIGHT,
            "initial_cross_weight": 1.0,
        }
    )
    columns = CrossColumns.of(SCHEMA)
    return ScoreHead(heads=heads, columns=columns, num_items=1, settings=settings).eval()

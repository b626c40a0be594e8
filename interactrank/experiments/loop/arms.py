"""The arms of the experiment: what ranks for whom, and what of it is renewed every night.

Shapes: R searches, C candidates of a search, U users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from interactrank.core.settings import ConfigError
from interactrank.cross_features import Jagged, RequestKeys, match_of_words
from interactrank.cross_features.bm25 import Bm25Settings
from interactrank.cross_features.text import hash63, normalize
from interactrank.cross_features.text_keys import text_keys
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers.popularity import with_popularity
from interactrank.schema import SearchSchema
from interactrank.serving import PreRanker

__all__ = ["ARMS", "Arm", "Bm25Ranker", "ModelRanker", "Ranker", "arm_of_users", "bm25_of"]


@dataclass(frozen=True)
class Arm:
    """What a group of users gets.

    Attributes:
        name: in files.
        title: in tables.
        model: that is trained; None for BM25.
        trains: whether the model goes on training every night.
        exports: whether it is exported every night, with the histories until then.
        shown: whether users see it; else it ranks all searches without being seen.
        live: whether what users do counts in the next search, and not from the next night on; such an arm is
            not shown, so that what it ranks by is what the users of the other arms do.
    """

    name: str
    title: str
    model: str | None
    trains: bool
    exports: bool
    shown: bool = True
    live: bool = False


ARMS = (
    Arm("bm25", "BM25", None, trains=False, exports=False),
    Arm("two_tower", "two-tower", "two_tower", trains=True, exports=True),
    Arm("interactrank", "InteractRank", "interactrank", trains=True, exports=True),
    Arm("frozen", "InteractRank, export of day 0", "interactrank", trains=False, exports=False),
    Arm(
        "histories", "InteractRank, weights of day 0", "interactrank", trains=False, exports=True, shown=False
    ),
    Arm(
        "live",
        "InteractRank, clicks count at once",
        "interactrank",
        trains=True,
        exports=True,
        shown=False,
        live=True,
    ),
)


class Ranker(Protocol):
    """Anything that ranks candidates."""

    def best(
        self, requests: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]], k: int
    ) -> list[list[str]]:
        """Return the ids of the k best candidates of each of R requests, the best first."""


class ModelRanker:
    """An export, opened in this process.

    Args:
        pre_ranker: of the export.
    """

    def __init__(self, pre_ranker: PreRanker) -> None:
        self._pre_ranker = pre_ranker

    def best(
        self, requests: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]], k: int
    ) -> list[list[str]]:
        """Return the ids of the k best candidates of each of R requests, the best first."""
        return [ranking.ids for ranking in self._pre_ranker.rank_many(requests, candidates, k)]

    def best_live(
        self,
        requests: Sequence[Mapping[str, Any]],
        candidates: Sequence[Sequence[str]],
        k: int,
        events: Sequence[Sequence[Mapping[str, Any]]],
    ) -> list[list[str]]:
        """Rank one request after the other; what became of each is recorded before the next one.

        Args:
            requests: R of them, in order of time.
            candidates: of each.
            k: results of each.
            events: rows of a log of each.
        """
        found = []
        for request, of, rows in zip(requests, candidates, events, strict=True):
            found += self.best([request], [of], k)
            self._pre_ranker.record(rows)
        return found


class Bm25Ranker:
    """The baseline ``bm25`` of evaluation: the match of the titles' words, ties by popularity.

    Args:
        dataset: whose first cross feature of kind bm25 over words is used.

    Raises:
        ConfigError: the schema has no such feature.
    """

    def __init__(self, dataset: PreparedDataset) -> None:
        feature = bm25_of(dataset.schema)
        self._name, self._query = feature.name, dataset.schema.events.query
        self._key = next(f for f in dataset.cross.features if f.name == feature.name).key_names[0]
        self._cross, self._shown = dataset.cross, dataset.items.train_count
        self._row = {name: row for row, name in enumerate(dataset.items.ids)}

    def best(
        self, requests: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]], k: int
    ) -> list[list[str]]:
        """Return the ids of the k best candidates of each of R requests, the best first."""
        keys = text_keys("words", [normalize(request[self._query]) for request in requests])
        never = np.zeros(len(requests), np.int64)  # the match depends on no moment
        lengths = np.array([len(of) for of in candidates], np.int64)
        rows = np.array([self._row[item] for of in candidates for item in of], np.int64)
        jagged = Jagged(rows, lengths)
        match = self._cross.look_up_one(self._name, RequestKeys({self._key: keys}, never, never), jagged)
        scores = with_popularity(match, self._shown, jagged).numpy()
        found = []
        for of, own in zip(candidates, np.split(scores, np.cumsum(lengths)[:-1]), strict=True):
            found.append([of[n] for n in np.argsort(-own, kind="stable")[:k]])
        return found


def bm25_of(schema: SearchSchema) -> Bm25Settings:
    """Return the cross feature that the arm BM25 ranks by.

    Raises:
        ConfigError: the schema has none of kind bm25 over words.
    """
    feature = match_of_words(schema)
    if feature is None:
        raise ConfigError(
            "schema.cross_features: the arm BM25 needs a cross feature of kind bm25 with analyzer words; "
            "add one"
        )
    return feature


def arm_of_users(users: npt.NDArray[np.int64], arms: int, salt: str) -> npt.NDArray[np.int64]:
    """Return the arm of each user, by a hash: the same every day, and about equally many users in each.

    Args:
        users: [U] their ids.
        arms: how many there are.
        salt: that makes this experiment's split another than those of others.

    Returns:
        [U] numbers of arms.

    Example::

        >>> arm_of_users(np.array([3, 3, 4]), 2, "a").tolist()
        [0, 0, 1]
    """
    return np.array([hash63(f"{salt}:{user}") % arms for user in users.tolist()], np.int64)

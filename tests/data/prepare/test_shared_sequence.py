"""The cosines of a candidate and the user's sequence, against counting users and queries one by one."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from interactrank.cross_features.jagged import Jagged
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.settings import LoaderSettings
from tests.data.logs import event, item, prepared, schema, user

ITEMS, USERS = "abcdef", "uvwxyz"


def test_cosine_counts_the_users_of_both_items(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    drawn = [
        (str(rng.choice(list(USERS))), str(rng.choice(list(ITEMS))), str(rng.choice(["red", "hat"])))
        for _ in range(80)
    ]
    events = [event(f"r{n:03d}", u, q, i, n * 60, click=1) for n, (u, i, q) in enumerate(drawn)]
    features = "cross_features=[{kind: item_cosine}, {kind: item_cosine, items: same_query}]"
    log = prepared(
        tmp_path, events, [item(i, i) for i in ITEMS], [user(u, "de", 30) for u in USERS],
        schema=schema(features, "sequence.length=10"),
    )  # fmt: skip
    (found,) = SearchLoader(log, "train", LoaderSettings(batch_requests=99), shuffle=False).requests()
    rate, support, *_ = log.cross.look_up(found.keys())

    def users_of(wanted: set[str], n: int) -> int:
        """Users who had engaged with all of ``wanted`` before request n."""
        return sum(wanted <= {i for v, i, _ in drawn[:n] if v == u} for u in USERS)

    for n, (u, _, q) in enumerate(drawn):
        own = [(i, p) for v, i, p in drawn[:n] if v == u][-10:]
        for column, items in ((0, {i for i, _ in own}), (1, {i for i, p in own if p == q})):
            assert support[n, column] == (1 if items else 0)
            for c, candidate in enumerate(ITEMS):
                cosines = [
                    users_of({s, candidate}, n) / sqrt(max(1, users_of({s}, n) * users_of({candidate}, n)))
                    for s in items
                ]
                expected = sum(cosines) / max(1, len(items))
                assert rate[n * len(ITEMS) + c, column] == pytest.approx(expected, rel=1e-5), (n, column, c)


@pytest.mark.parametrize("candidates", ["listed", "catalogue"])
def test_cosine_over_queries(tmp_path: Path, candidates: str) -> None:
    rng = np.random.default_rng(6)
    queries = ["red", "hat", "old hat", "boat"]
    drawn = [
        (str(rng.choice(list(USERS))), str(rng.choice(list(ITEMS))), str(rng.choice(queries)))
        for _ in range(90)
    ]
    events = [event(f"r{n:03d}", u, q, i, n * 60, click=1) for n, (u, i, q) in enumerate(drawn)]
    features = (
        "cross_features=[{kind: query_cosine}, {kind: query_cosine, items: same_query}, {kind: item_cosine}]"
    )
    log = prepared(
        tmp_path, events, [item(i, i) for i in ITEMS], [user(u, "de", 30) for u in USERS],
        schema=schema(features, "sequence.length=10", "sequence.end=day"),
    )  # fmt: skip
    loader = SearchLoader(log, "train", LoaderSettings(batch_requests=99), shuffle=False)
    (found,) = loader.requests()
    asked = None
    if candidates == "listed":
        lists = [[n % 6, (n + 2) % 6] for n in range(len(drawn))]
        asked = Jagged(np.array(lists).ravel(), np.full(len(lists), 2))
    else:
        lists = [list(range(6))] * len(drawn)
    rate, support, *_ = log.cross.look_up(found.keys(), asked)
    row = 0
    for n, (u, _, q) in enumerate(drawn):
        before = drawn[: n - n % 24]  # an event each hour; the sequence ends with the day before

        def vector(i: str, before: list[tuple[str, str, str]] = before) -> np.ndarray:
            return np.array([sum(x == i and y == p for _, x, y in before) for p in queries], float)

        own = [(i, p) for v, i, p in before if v == u][-10:]
        for column, items in ((0, {i for i, _ in own}), (1, {i for i, p in own if p == q})):
            assert support[n, column] == (1 if items else 0)
            for k, c in enumerate(lists[n]):
                vectors = [(vector(s), vector(ITEMS[c])) for s in items]
                cosines = [s @ p / max(np.linalg.norm(s) * np.linalg.norm(p), 1e-9) for s, p in vectors]
                expected = sum(cosines) / max(1, len(items))
                assert rate[row + k, column] == pytest.approx(expected, abs=1e-6), (n, column, c)
        row += len(lists[n])

"""Sampled negatives: which, how many, how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.negatives import NegativeSampler
from interactrank.data.loading.prepared_requests import Candidates, PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from tests.data.logs import prepared, random_log, schema


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    events, items, users = random_log(5)
    wanted = schema("sequence.end=day")
    return prepared(tmp_path_factory.mktemp("log"), events, items, users, schema=wanted)


def all_requests(log: PreparedDataset) -> PreparedRequests:
    settings = LoaderSettings(batch_requests=1000, prefetch=0)
    return next(SearchLoader(log, "train", settings, shuffle=False).requests())


def sampler(log: PreparedDataset, count: int, power: float) -> NegativeSampler:
    return NegativeSampler(
        train_count=log.items.train_count, count=count, power=power, cross=log.cross, schema=log.schema
    )  # fmt: skip


def rows(candidates: Candidates, column: str | None = None) -> list[np.ndarray]:
    values = candidates.items.values if column is None else getattr(candidates, column)
    return np.split(values, np.cumsum(candidates.items.lengths)[:-1])


@pytest.mark.parametrize("count", [1, 5, 12, 100])
def test_negatives_follow_the_logged_and_are_others(log: PreparedDataset, count: int) -> None:
    requests = all_requests(log)
    logged = requests.candidates()
    found = sampler(log, count, 0.5).add(requests, logged, seed=(1, 2))
    excluded = np.split(
        requests.jagged("excluded").values, np.cumsum(requests.jagged("excluded").lengths)[:-1]
    )
    columns = zip(
        rows(logged), rows(found), excluded, rows(found, "weights"), rows(found, "log_q"), strict=True
    )
    for own, items, repeats, weights, log_q in columns:
        drawn = items[len(own) :]
        assert items[: len(own)].tolist() == own.tolist()
        assert len(set(items.tolist())) == len(items)
        assert not set(drawn.tolist()) & set(repeats.tolist())
        assert len(drawn) <= count
        if count >= 12:  # the whole catalogue
            assert set(items.tolist()) | set(repeats.tolist()) == set(range(12))
        assert (weights[len(own) :] == 0.5).all()  # impression_weight
        assert (log_q[: len(own)] == 0).all()
    for own, labels in zip(rows(logged), rows(found, "labels"), strict=True):
        assert not labels[len(own) :].any()
    for name in ("labels", "weights", "rate", "number"):
        for a, b in zip(rows(logged, name), rows(found, name), strict=True):
            assert np.array_equal(a, b[: len(a)])
    assert any(len(r) for r in excluded)


def test_the_seed_decides(log: PreparedDataset) -> None:
    requests = all_requests(log)
    draws = [
        sampler(log, 4, 0.5).add(requests, requests.candidates(), seed).items.values.tolist()
        for seed in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]


def test_cross_features_of_negatives_are_those_of_the_same_pairs(log: PreparedDataset) -> None:
    requests = all_requests(log)
    found = sampler(log, 6, 1.0).add(requests, requests.candidates(), seed=(0,))
    cross = log.cross.look_up(requests.keys(), found.items)
    assert np.array_equal(found.rate, cross.rate)
    assert np.array_equal(found.number, cross.number)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_items_are_there_as_often_as_log_q_says(log: PreparedDataset, power: float) -> None:
    requests = all_requests(log)
    drawn = sampler(log, 3, power)
    weights = (log.items.train_count + 1.0) ** power
    share = weights / weights.sum()
    # The chance that at least one of three draws hits an item.
    chance = 1 - (1 - share) ** 3
    assert drawn.log_q == pytest.approx(np.log(chance), rel=1e-5)
    # Count over many seeds where an item may be drawn: not a candidate, not excluded.
    times, hits = np.zeros(12), np.zeros(12)
    candidates = requests.candidates()
    free = np.ones((len(requests), 12), bool)
    for jagged in (candidates.items, requests.jagged("excluded")):
        free[np.repeat(np.arange(len(requests)), jagged.lengths), jagged.values] = False
    for seed in range(100):
        pairs = drawn._draw(requests, candidates, (seed,))
        assert free.reshape(-1)[pairs].all()
        hits += np.bincount(pairs % 12, minlength=12)
        times += free.sum(0)
    # Binomial: standard deviation sqrt(n p (1 - p)); 4.5 of them for 36 comparisons.
    assert times.min() > 1000
    deviation = (hits - times * chance) / np.sqrt(times * chance * (1 - chance))
    assert np.abs(deviation).max() < 4.5


def test_the_whole_catalogue_is_certain(log: PreparedDataset) -> None:
    assert sampler(log, 12, 1.0).log_q.tolist() == [0] * 12


def test_without_exclude_repeats(tmp_path: Path) -> None:
    events, items, users = random_log(5, requests=30)
    log = prepared(tmp_path, events, items, users, schema=schema("exclude_repeats=false"))
    requests = all_requests(log)
    found = sampler(log, 12, 0.0).add(requests, requests.candidates(), seed=(0,))
    assert found.items.lengths.tolist() == [12] * len(requests)


def test_features_that_nobody_reads_are_not_computed(log: PreparedDataset) -> None:
    requests = all_requests(log)
    logged = requests.candidates()
    every = sampler(log, 5, 0.5).add(requests, logged, seed=(1, 2))
    read = ["query_click", "words_click", "bm25_trigrams_title_brand"]
    some = NegativeSampler(
        train_count=log.items.train_count, count=5, power=0.5, cross=log.cross, schema=log.schema, only=read
    ).add(requests, logged, seed=(1, 2))
    np.testing.assert_array_equal(some.items.values, every.items.values)
    drawn = np.concatenate(
        [np.arange(n) >= own for n, own in zip(every.items.lengths, logged.items.lengths, strict=True)]
    )
    columns = log.cross.columns
    for column, features in (("rate", columns.rates), ("number", columns.numbers)):
        whole, part = getattr(every, column), getattr(some, column)
        for j, feature in enumerate(features):
            assert whole[drawn, j].any(), feature.name
            expected = whole[:, j] if feature.name in read else np.where(drawn, 0, whole[:, j])
            np.testing.assert_array_equal(part[:, j], expected)

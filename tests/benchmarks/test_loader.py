from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks import loader
from benchmarks.loader import check, epoch, group, peer, profile, scan
from benchmarks.padded_rows import check_equal, padded_loader
from benchmarks.synthetic_log import CANDIDATES, prepared
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings

REQUESTS = 80


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("log")
    return prepared(folder, REQUESTS * CANDIDATES, items=300, users=5, sequence=10)


def test_the_peer_makes_what_the_loader_makes(log: PreparedDataset) -> None:
    check(log)


@pytest.mark.parametrize("name", ["labels", "rate", "event_age", "query_words", "title", "item_id"])
def test_another_value_is_noticed(log: PreparedDataset, name: str) -> None:
    of = SearchLoader(log, "train", LoaderSettings(batch_requests=8, prefetch=0), shuffle=False)
    _, padded = padded_loader(log, of._columns(everything=False), 8, limit=64)
    *_, batch = of.epoch(0)
    *_, other = padded
    check_equal(log, batch, other)
    other[name][-1].view(-1)[0] += 1  # of the last request, whose user has a history
    with pytest.raises(AssertionError, match=f"{name}: "):
        check_equal(log, batch, other)


def test_all_contestants_go_through_the_split(log: PreparedDataset) -> None:
    of = loader.loader(log, 16)
    assert scan(of)() == epoch(of)() == epoch(loader.loader(log, 16, prefetch=2))() == of.num_requests == 64
    step, rows = peer(log, 16)
    assert step() == rows == 64


def test_times_are_those_of_a_batch(log: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def alternate(steps: dict[str, object], **_: object) -> dict[str, loader.Samples]:
        return {name: loader.Samples([8.0], [4.0]) for name in steps}

    monkeypatch.setattr(loader, "alternate", alternate)
    of = group(log, 16, 10)
    assert of.contestants[0].name == "arrow_scan"
    assert {c.work for c in of.contestants} == {16}
    assert of.measure is not None
    found = of.measure(1, 1)
    assert set(found) == {c.name for c in of.contestants}
    assert found["loader"] == loader.Samples([2.0], [1.0])  # an epoch of 64 requests is 4 batches


def test_the_profile_names_every_stage(log: PreparedDataset) -> None:
    found = profile(epoch(loader.loader(log, 16)))
    assert min(found.values()) > 0
    assert max(found, key=found.__getitem__) == "the epoch"


def test_groups_have_a_size_to_grow_by() -> None:
    options = argparse.Namespace(smoke=True, threads=torch.get_num_threads(), events=0)
    found = list(loader.groups(options))
    assert len({g.name for g in found}) == len(found)
    assert [g.settings[loader.SCRIPT.x_axis or ""] for g in found] == [4, 8, 16] * 2

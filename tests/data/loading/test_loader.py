"""SearchLoader: an order fixed by seed, rank and epoch; every request once; ranks that end together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from interactrank.batch import SearchBatch
from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from tests.data.logs import event, item, minimal, prepared, random_log, schema


def loader(
    log: PreparedDataset, *, rank: int = 0, ranks: int = 1, shuffle: bool = True, **settings: Any
) -> SearchLoader:
    wanted = LoaderSettings.model_validate(
        {"batch_requests": 4, "prefetch": 0, "shuffle_groups": 2} | settings
    )
    return SearchLoader(log, "train", wanted, rank=rank, world_size=ranks, shuffle=shuffle)


def order(batches: Iterator[SearchBatch]) -> list[list[int]]:
    return [b.request_index.tolist() for b in batches]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """53 requests in five files and row groups of 3 or fewer."""
    events = [event("", "", f"q{n}", f"i{n % 7}", n, click=1) for n in range(53)]
    items = [item(f"i{n}") for n in range(9)]
    sizes = {"block_requests": 5, "group_requests": 3, "file_requests": 10}
    settings = sizes | {"split": {"validation_share": 0, "test_share": 0}}
    wanted = minimal("cross_features=[{kind: iqp, key: all, engagement: click}]")
    return prepared(tmp_path_factory.mktemp("log"), events, items, schema=wanted, settings=settings)


def flat(batches: list[list[int]]) -> list[int]:
    return [i for b in batches for i in b]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 53])
@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_ranks_share_the_requests_and_end_together(log: PreparedDataset, ranks: int, batch: int) -> None:
    loaders = [loader(log, rank=r, ranks=ranks, batch_requests=batch) for r in range(ranks)]
    epochs = [order(x.epoch(3)) for x in loaders]
    steps = {len(e) for e in epochs}
    assert steps == {loaders[0].steps_per_epoch}
    assert {x.steps_per_epoch for x in loaders} == steps
    assert sorted(i for e in epochs for i in flat(e)) == list(range(53))
    assert all(b for e in epochs for b in e)
    # A batch is as large as asked for, but for one more where a rank would else have one step less.
    assert max(len(b) for e in epochs for b in e) <= batch + (batch == 1 and 53 % ranks > 0)


def test_the_order_is_fixed_by_seed_and_epoch(log: PreparedDataset) -> None:
    first = order(loader(log).epoch(0))
    assert order(loader(log).epoch(0)) == first
    assert order(loader(log, prefetch=3).epoch(0)) == first
    assert order(loader(log).epoch(1)) != first
    assert order(loader(log, seed=1).epoch(0)) != first
    assert flat(first) != list(range(53))


def test_neighbouring_groups_are_mixed(log: PreparedDataset) -> None:
    # Groups of a window of two are shuffled together: some batch has requests from far apart.
    batches = order(loader(log, batch_requests=3).epoch(0))
    assert any(max(b) - min(b) > 5 for b in batches)


def test_without_shuffling_requests_come_in_order_of_time(log: PreparedDataset) -> None:
    x = loader(log, shuffle=False)
    assert flat(order(x.epoch(0))) == flat(order(x.epoch(1))) == list(range(53))
    assert flat([r.index.tolist() for r in x.requests()]) == list(range(53))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("start", [0, 1, 3, 6, 7, 99])
def test_start_resumes_the_epoch(log: PreparedDataset, rank: int, start: int) -> None:
    x = loader(log, rank=rank, ranks=2, negatives=3)
    whole = list(x.epoch(2))
    rest = list(x.epoch(2, start=start))
    assert x.steps_per_epoch == len(whole) == 7
    assert len(rest) == max(0, 7 - start)
    for a, b in zip(whole[start:], rest, strict=True):
        assert a.request_index.tolist() == b.request_index.tolist()
        assert torch.equal(a.candidate_item, b.candidate_item)  # the negatives too
        assert torch.equal(a.item_index, b.item_index)


def test_a_change_of_ranks_in_an_epoch_shows_every_request_once(log: PreparedDataset) -> None:
    """2 ranks for 3 steps, then 1 rank for 4, then 2 ranks to the end: 53 requests, each once."""
    seen: list[list[int]] = []
    left = None
    for ranks, steps in ((2, 3), (1, 4), (2, None)):
        loaders = [loader(log, rank=r, ranks=ranks, negatives=2) for r in range(ranks)]
        partition = loaders[0].partition(left)
        for x in loaders:
            got = order(x.epoch(2, ranges=left))
            assert len(got) == partition.steps
            assert order(x.epoch(2, start=2, ranges=left)) == got[2:]
            assert order(x.epoch(2, start=partition.steps, ranges=left)) == []
            seen += got[:steps]
        left = partition.remaining(partition.steps if steps is None else steps)
    assert left == ()
    assert sorted(flat(seen)) == list(range(53))


def test_fewer_requests_left_than_ranks(log: PreparedDataset) -> None:
    whole = flat(order(loader(log).epoch(2)))
    loaders = [loader(log, rank=r, ranks=3) for r in range(3)]
    assert [order(x.epoch(2, ranges=((50, 51), (52, 53)))) for x in loaders] == [
        [[whole[50]]],
        [[whole[52]]],
        [[whole[50]]],
    ]


def test_negatives_of_a_rest_are_its_own(log: PreparedDataset) -> None:
    x = loader(log, negatives=3, shuffle=False)
    (rest,) = x.epoch(0, ranges=((4, 8),))
    again = next(x.epoch(0, ranges=((4, 8), (9, 21))))
    assert torch.equal(rest.item_index[rest.candidate_item], again.item_index[again.candidate_item])
    first = next(x.epoch(0))  # the same step number in the whole epoch
    assert rest.item_index[rest.candidate_item].tolist() != first.item_index[first.candidate_item].tolist()


def test_ranks_draw_different_negatives(log: PreparedDataset) -> None:
    one, two = (
        SearchLoader(
            log, "train", LoaderSettings(negatives=2, prefetch=0), rank=r, world_size=2, shuffle=False
        )
        for r in (0, 1)
    )
    a, b = next(one.epoch(0)), next(two.epoch(0))
    assert a.num_candidates > a.num_requests
    assert a.candidate_item[:40].tolist() != b.candidate_item[:40].tolist()


def test_negatives_differ_between_epochs(log: PreparedDataset) -> None:
    x = loader(log, negatives=3, shuffle=False)
    a, b = next(x.epoch(0)), next(x.epoch(1))
    assert a.request_index.tolist() == b.request_index.tolist()
    assert a.item_index[a.candidate_item].tolist() != b.item_index[b.candidate_item].tolist()


def test_more_ranks_than_requests(log: PreparedDataset) -> None:
    with pytest.raises(
        DatasetError, match="split 'train' has 53 requests, fewer than the 54 ranks; use fewer ranks"
    ):
        loader(log, ranks=54)


def test_a_split_without_requests(log: PreparedDataset) -> None:
    with pytest.raises(DatasetError, match="split 'test' has 0 requests, fewer than the 1 ranks"):
        SearchLoader(log, "test", LoaderSettings())


def test_an_unknown_split(log: PreparedDataset) -> None:
    with pytest.raises(DatasetError, match="no split 'dev'; allowed: train, validation, test"):
        SearchLoader(log, "dev", LoaderSettings())


def test_damaged_files(tmp_path: Path) -> None:
    events, items, users = random_log(1, requests=200)
    log = prepared(tmp_path, events, items, users, schema=schema())
    path = log.files("train")[0]
    whole = path.read_bytes()
    data = bytearray(whole)
    data[100 : len(data) // 2] = bytes(len(data) // 2 - 100)
    path.write_bytes(bytes(data))
    for prefetch in (0, 2):
        with pytest.raises(
            DatasetError, match=r"cannot read '.*requests-00000.parquet': .*prepare the log again"
        ):
            list(loader(log, prefetch=prefetch).epoch(0))
    path.write_bytes(whole[:500])
    with pytest.raises(
        DatasetError, match=r"cannot read '.*requests-00000.parquet': .*prepare the log again"
    ):
        loader(log)


# The thread that works ahead.


def threads() -> int:
    return sum(t.name == "interactrank-loader" for t in threading.enumerate())


def test_nothing_is_read_before_the_first_batch_is_asked_for(log: PreparedDataset) -> None:
    epoch = loader(log, prefetch=2).epoch(0)
    assert threads() == 0
    assert isinstance(next(epoch), SearchBatch)
    epoch.close()  # type: ignore[attr-defined]
    assert threads() == 0


# Which requests fit the projection.


def fitting(batches: Iterator[SearchBatch]) -> list[int]:
    """Requests that fit the projection; each batch says so of all its requests."""
    return sorted(
        i
        for b in batches
        for i, fits in zip(b.request_index.tolist(), b.fits_projection.tolist(), strict=True)
        if fits
    )


def test_the_last_requests_fit_the_projection(log: PreparedDataset) -> None:
    """The last 30 % of 53 requests, which are numbered by time, are 37..52."""
    assert fitting(loader(log, projection_share=0.3).epoch(0)) == list(range(37, 53))
    mine = [loader(log, projection_share=0.3, rank=r, ranks=2).epoch(0) for r in (0, 1)]
    assert sorted(i for batches in mine for i in fitting(batches)) == list(range(37, 53))
    assert next(iter(loader(log, projection_share=0).epoch(0))).fits_projection is None


def test_in_the_last_of_several_epochs_all_fit_the_towers(log: PreparedDataset) -> None:
    settings = LoaderSettings(batch_requests=4, projection_share=0.3)
    three = SearchLoader(log, "train", settings, epochs=3)
    assert [len(fitting(three.epoch(n))) for n in (0, 1, 2)] == [16, 16, 0]

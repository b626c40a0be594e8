from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import flat_two_tower as flat
from benchmarks.end_to_end import config, make_log
from benchmarks.flat_two_tower import FlatBatch, FlatTwoTower, flat_two_tower, read_flat, write_flat
from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import process_group

OF = config("demo", 1, smoke=True)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    path = tmp_path_factory.mktemp("flat")
    make_log(OF, path)
    return PreparedDataset(path / "prepared")


def lists(batch: SearchBatch, layout: BatchLayout, feature: str, side: str) -> list[list[int]]:
    """The ids of a feature for every candidate, looked up one by one."""
    row = (batch.candidate_request() if side == "request" else batch.candidate_item).tolist()
    for ids, slots, both in (  # both: rows of requests, then of items
        (batch.request_ids, layout.request_slots, False),
        (batch.item_ids, layout.item_slots, False),
        (batch.shared_ids, layout.shared_slots, True),
        (batch.event_ids, layout.event_slots, True),
    ):
        for slot in slots:
            if getattr(slot, side) == feature:
                assert ids is not None
                first = batch.num_requests if both and side == "item" else 0
                rows = ids[slot.key].to_dense()
                return [rows[first + r].long().tolist() for r in row]
    raise AssertionError(f"no slot has {feature}")


@pytest.mark.parametrize("rank", [0, 1])
def test_flat_rows_are_the_candidates_of_the_loaders_first_pass(
    log: PreparedDataset, tmp_path: Path, rank: int
) -> None:
    loader = SearchLoader(log, "train", OF.loader, rank=rank, world_size=2)
    write_flat(loader, tmp_path / "rows.parquet")
    layout, batches = log.layout, read_flat(tmp_path / "rows.parquet", log.layout)
    count = 0
    for expected, found in zip(loader.epoch(0), batches, strict=False):
        count += 1
        assert torch.equal(found.labels, expected.labels)
        for side in flat.SIDES:
            for f in layout.sparse(side):
                values, offsets = found.ids[f.name]
                rows = [x.tolist() for x in values.split(offsets.diff().tolist())]
                assert rows == lists(expected, layout, f.name, side)
        price = layout.numbers("item")[0]
        stats = layout.number_stats[price.name]
        raw = expected.item_dense[expected.candidate_item, 0]
        expected_price = torch.nan_to_num((raw - stats["mean"]) / stats["std"])
        torch.testing.assert_close(found.dense["item"][:, 0], expected_price)
        assert found.dense["request"].shape == (len(found.labels), layout.dense_width("request"))
    assert count == loader.steps_per_epoch
    again = next(batches)  # the second pass
    assert torch.equal(again.labels, next(iter(loader.epoch(0))).labels)


@pytest.mark.slow
def test_the_peer_learns(log: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    models: list[FlatTwoTower] = []
    original = FlatTwoTower.forward

    def forward(self: FlatTwoTower, batch: FlatBatch) -> Tensor:
        if not models:
            models.append(self)
            first.extend(p.detach().clone() for p in self.parameters())
        loss = original(self, batch)
        losses.append(float(loss.detach()))
        return loss

    first: list[Tensor] = []
    monkeypatch.setattr(FlatTwoTower, "forward", forward)
    with process_group("cpu") as world:
        step = flat_two_tower(log, OF, tmp_path / "rows.parquet", world, block=5)
        for _ in range(12):
            step()
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    changed = [not torch.equal(a, b) for a, b in zip(first, models[0].parameters(), strict=True)]
    assert all(changed)
    names = set(itertools.chain.from_iterable(models[0].features.values()))
    assert ("query_words", "word") in names
    assert ("title_words", "word") in names  # one table for both
    assert len(models[0].tables) == len(log.schema.tables)

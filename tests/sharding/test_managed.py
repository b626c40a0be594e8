"""Managed ID tables, sharded: the same rows on any ranks, exact resume, evaluation of the unsharded model."""

from __future__ import annotations

import io
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.checkpoint.store import CheckpointStore
from interactrank.checkpoint.weights import load_model, save_model
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.distributed.world import current_world, process_group
from interactrank.models import InteractRank
from interactrank.modules import Eviction, TableConfig, embedding_bag_collection, embedding_collection, manage
from interactrank.runs.plan_inputs import ModelProfile
from interactrank.sharding.errors import PlanError, ShardingError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.offline import plan_for_cluster
from interactrank.sharding.planner.plan import make_plan, place
from interactrank.sharding.planner.report import PlanReport
from interactrank.sharding.shard import shard_model
from interactrank.sharding.tables import tables_of
from interactrank.training.optimizers import build_optimizer
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.models import search
from tests.ranks import run_ranks

TABLES = (
    "tables.word={dim: 4, ids: managed, rows: 16, buckets: 2, eviction_interval: 2}",
    "tables.item={dim: 4, ids: managed, rows: 8, buckets: 2, eviction_interval: 4, eviction: distance_lfu}",
    "tables.query={dim: 4, ids: managed, rows: 4, buckets: 2, eviction_interval: 1, eviction: lru}",
)


class Toy(nn.Module):
    """A pooled managed table of two features and one of rows."""

    def __init__(self, seed: int = 0, buckets: int = 4, device: torch.device | None = None) -> None:
        super().__init__()
        torch.manual_seed(seed)
        eviction = Eviction(buckets=buckets, interval=2)
        bags = TableConfig(name="bags", rows=32, dim=8, features=["a", "b"], pooling="mean")
        rows = TableConfig(name="rows", rows=24, dim=8, features=["c"], pooling=None)
        self.bags = manage(embedding_bag_collection([bags], device=device), {"bags": eviction})
        self.rows = manage(embedding_collection([rows], device=device), {"rows": eviction})
        self.head = nn.Linear(8, 1)

    def forward(self, ids: KeyedJaggedTensor) -> Tensor:
        pooled, _ = self.bags(ids)
        rows, _ = self.rows(ids)
        return self.head(pooled["a"] + pooled["b"] + rows["c"].values()).square().mean()


def global_batch(seed: int) -> list[Tensor]:
    """ids of 4 requests for each of 2 ranks: feature a has 3, b 2 and c one."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(1, 64, (8, n), generator=g) << 56 for n in (3, 2, 1)]


def own_batch(seed: int) -> KeyedJaggedTensor:
    world = current_world()
    parts = [ids[world.rank :: world.size] for ids in global_batch(seed)]
    lengths = torch.cat([torch.full((len(p),), p.shape[1]) for p in parts])
    return KeyedJaggedTensor(
        keys=["a", "b", "c"], values=torch.cat([p.flatten() for p in parts]), lengths=lengths
    )


def _sharded(optimizer: str, **model: Any) -> Any:
    world = current_world()
    settings = TrainingSettings.model_validate(
        {"steps": 9, "table_optimizer": {"name": optimizer, "lr": 0.1}}
    )
    toy = Toy(**model)
    dmp = shard_model(toy, make_plan(toy, settings, world), settings, world)
    return dmp, build_optimizer(dmp, settings, 9)


def _step(dmp: Any, optimizer: Any, seed: int) -> None:
    optimizer.zero_grad()
    dmp(own_batch(seed)).backward()
    optimizer.step()


def _train(output: Path, optimizer: str) -> None:
    """Nine steps; a checkpoint of the eighth, between two changes of rows, and the last weights."""
    dmp, opt = _sharded(optimizer)
    opt.start_step(1)
    for seed in range(9):
        _step(dmp, opt, seed)
        if seed == 6:
            CheckpointStore(output / "checkpoints").save(dmp, opt, step=7)
    save_model(dmp, output / "model.safetensors")


def _resume(checkpoints: Path, target: Path, optimizer: str) -> None:
    dmp, opt = _sharded(optimizer, seed=5)
    store = CheckpointStore(checkpoints)
    path = store.latest()
    assert path is not None
    store.load(path, dmp, opt)
    opt.start_step(8)
    for seed in (7, 8):
        _step(dmp, opt, seed)
    save_model(dmp, target)


def assert_same(a: Path, b: Path, exact: bool) -> dict[str, Tensor]:
    first, second = load_file(a), load_file(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if exact or not value.is_floating_point():
            assert torch.equal(value, second[name]), name
        else:
            torch.testing.assert_close(value, second[name], msg=lambda m, name=name: f"{name}: {m}")
    return first


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "row_wise_adagrad"])
def test_any_ranks_have_the_same_rows_and_resume_each_others_checkpoints(
    tmp_path: Path, optimizer: str
) -> None:
    """One rank against two on the same global batches: rows of values exactly, weights but for rounding."""
    one, two = tmp_path / "one", tmp_path / "two"
    for ranks, folder in ((1, one), (2, two)):
        folder.mkdir()
        run_ranks(ranks, _train, folder, optimizer)
    state = assert_same(one / "model.safetensors", two / "model.safetensors", exact=False)
    managed = "bags._managed_collision_collection._managed_collision_modules.bags."
    assert int((state[managed + "count"] > 0).sum()) == 28  # 32 rows less those of 4 buckets' others
    assert int((state[managed + "new_count"] > 0).sum()) > 0  # saved between two changes
    if optimizer == "row_wise_adagrad":
        for ranks, source in ((2, two), (1, two), (2, one)):
            again = tmp_path / "again.safetensors"
            run_ranks(ranks, _resume, source / "checkpoints", again, optimizer)
            assert_same(source / "model.safetensors", again, exact=(ranks, source) == (2, two))


def _evictions(optimizer: str) -> int:
    """Looks up until rows change; what was in them is gone, on this rank. Returns how many had a value."""
    dmp, opt = _sharded(optimizer)
    opt.start_step(1)
    for seed in range(8):
        _step(dmp, opt, seed)
    sharded = dmp.module.bags
    managed = sharded._managed_collision_collection._managed_collision_modules["bags"]
    kernel, _ = sharded._table_to_tbe_and_index["bags"]
    (weights,) = kernel.split_embedding_weights()
    states = kernel.split_optimizer_states()

    def holders() -> dict[int, int]:
        held = managed.count > 0
        row = (managed.row - managed.part[0])[held]
        return dict(zip(row.tolist(), managed.ids[held].tolist(), strict=True))

    before, old = holders(), weights.clone()
    evicted = 0
    with torch.no_grad():
        for seed in (50, 50):  # ids that come twice as often as most
            dmp(own_batch(seed))
    after = holders()
    for row in range(len(weights)):
        if after.get(row) != before.get(row):
            others = row // 8 * 8 + 7
            assert torch.equal(weights[row], old[others])
            assert not torch.equal(weights[row], old[row])
            assert all(float(state[row].abs().sum()) == 0 for of in states for state in of)
            evicted += row in before
        else:
            assert torch.equal(weights[row], old[row])
    return evicted


@pytest.mark.parametrize(("ranks", "optimizer"), [(1, "sgd"), (1, "adagrad"), (2, "row_wise_adagrad")])
def test_a_row_starts_anew_with_its_next_value(ranks: int, optimizer: str) -> None:
    assert sum(run_ranks(ranks, _evictions, optimizer)) > 0


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return search.prepared(Path(tmp_path_factory.mktemp("log")), *TABLES)


def _search(
    folder: Path, output: Path, parts: bool = False, plan: Path | None = None, **changes: Any
) -> tuple[list[dict[str, float]], Tensor]:
    """Metrics, and scores of the sharded model."""
    world, log = current_world(), PreparedDataset(folder)
    settings = LoaderSettings(batch_requests=4, negatives=3)
    loader = SearchLoader(log, "train", settings, rank=world.rank, world_size=world.size)
    values = {"steps": 6, "log_every": 1, "validate_every": 3, "checkpoint_every": 3, "keep_last": 9}
    model = search.model(log)
    if parts:
        model = InteractRank(layout=log.layout, settings=model.settings, table_device=torch.device("meta"))
    training = TrainingSettings.model_validate(values | changes)
    result = train(model, loader, training, output, validate=lambda model, step: {}, plan=plan)
    with torch.no_grad():
        return result.metrics, result.dmp.module.eval().score(search.batch(log))


@pytest.fixture(scope="module")
def two_ranks(log: PreparedDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    output = Path(tmp_path_factory.mktemp("two_ranks"))
    return output, run_ranks(2, _search, log.folder, output)


@pytest.mark.slow
def test_the_unsharded_model_scores_as_the_sharded_one(log: PreparedDataset, two_ranks: Any) -> None:
    output, ranks = two_ranks
    whole = search.model(log, seed=1)
    load_model(whole, output / "model.safetensors")
    with torch.no_grad():
        expected = whole.score(search.batch(log))
    for _, scores in ranks:
        torch.testing.assert_close(scores, expected)


def test_the_history_tells_shares_and_evictions(two_ranks: Any) -> None:
    history, _ = two_ranks[1][0]
    for row in history:
        assert row["managed/item/lookups"] > 0
        assert 0 <= row["managed/query/own"] <= 1
    assert [row["managed/item/inserted"] > 0 for row in history[:4]] == [False, False, False, True]
    assert sum(row["managed/query/evicted"] for row in history) > 0
    assert two_ranks[1][0][0] == two_ranks[1][1][0]


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["plain", "sparse_dist"])
def test_a_resumed_run_ends_as_the_undisturbed_one(
    log: PreparedDataset, tmp_path: Path, pipeline: str
) -> None:
    """From step 3, between two changes of the rows of words and queries."""
    output = tmp_path / "whole"
    search_by = partial(_search, pipeline=pipeline)
    ranks = run_ranks(2, search_by, log.folder, output)
    shutil.copytree(output, tmp_path / "again")
    (tmp_path / "again" / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step_0000000006")
    again = run_ranks(2, search_by, log.folder, tmp_path / "again")
    assert_same(output / "model.safetensors", tmp_path / "again" / "model.safetensors", exact=True)
    of_a_start = ("requests_per_s", "messages/")  # messages are counted once after each start
    for (mine, _), (theirs, _) in zip(again, ranks, strict=True):
        assert [{k: v for k, v in row.items() if not k.startswith(of_a_start)} for row in mine] == [
            {k: v for k, v in row.items() if not k.startswith(of_a_start)} for row in theirs
        ]


def test_the_plain_pipeline_does_the_same(log: PreparedDataset, two_ranks: Any, tmp_path: Path) -> None:
    plain = run_ranks(2, partial(_search, pipeline="plain"), log.folder, tmp_path)
    for (mine, scores), (theirs, expected) in zip(plain, two_ranks[1], strict=True):
        assert [row["loss"] for row in mine] == pytest.approx([row["loss"] for row in theirs], rel=1e-6)
        torch.testing.assert_close(scores, expected)


@pytest.mark.slow
def test_beside_other_tables_and_by_the_plan_of_another_run(tmp_path: Path) -> None:
    """Items of events are managed and queries are not, categories are and words are not; again by plan."""
    log = search.prepared(tmp_path / "log", TABLES[1], "tables.category={dim: 4, ids: managed, rows: 16}")
    first = run_ranks(2, _search, log.folder, tmp_path / "first")
    whole = search.model(log, seed=1)
    load_model(whole, tmp_path / "first" / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(whole.score(search.batch(log)), first[1][1])
    again = run_ranks(2, _search_by_plan, log.folder, tmp_path / "again", tmp_path / "first" / "plan.json")
    torch.testing.assert_close(again[0][1], first[0][1])


def _search_by_plan(folder: Path, output: Path, plan: Path) -> Any:
    return _search(folder, output, plan=plan)


def test_tables_made_by_each_rank(log: PreparedDataset, tmp_path: Path) -> None:
    ((history, scores),) = run_ranks(1, _search, log.folder, tmp_path, True)
    assert len(history) == 6
    assert scores.isfinite().all()


def test_a_training_too_short_for_a_table_says_so(
    log: PreparedDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of words change every 2 steps, those of items every 4 and those of queries in each."""
    caplog.set_level("INFO", "interactrank")
    with process_group("cpu"):
        _search(log.folder, tmp_path, steps=3)
    lines = [record.getMessage() for record in caplog.records]
    lines = [line for line in lines if "share one row" in line]
    assert len(lines) == 1
    assert (
        "managed table item: rows are given to values every 4 steps, and the whole training has 3:"
        in lines[0]
    )
    assert "lower its eviction_interval" in lines[0]


def test_what_cannot_work_is_refused_by_name() -> None:
    toy = Toy(device=torch.device("meta"))

    def refused(ranks: int = 2, device: str = "cpu", **sharding: Any) -> str:
        cluster = Cluster(nodes=1, ranks_per_node=ranks, device=device, hbm=2**30, ddr=2**30)
        settings = TrainingSettings.model_validate({"steps": 1, "sharding": sharding})
        with pytest.raises(ShardingError) as error:
            place(toy, settings, cluster)
        return str(error.value)

    assert "table bags: 3 ranks cannot share its 4 buckets" in refused(3)
    assert "take 1, 2, 4 ranks" in refused(3)
    found = refused(bags={"types": ["table_wise"]})
    assert "training.sharding.bags.types: table_wise does not work" in found
    assert "ManagedCollisionEmbeddingBagCollection on cpu; allowed: row_wise" in found
    found = refused(rows={"kernels": ["fused_uvm"]}, device="cuda")
    assert "training.sharding.rows.kernels: fused_uvm" in found
    assert "allowed: fused" in found


def test_a_row_takes_56_bytes_beside_its_weights() -> None:
    """As many as the buffers have that are as long as the table; 32 and 24 rows."""
    toy = Toy()
    held = sum(b.nbytes for b in toy.buffers() if len(b) in (32, 24))
    assert sum(table.managed_bytes for table in tables_of(toy)) == held == (32 + 24) * 56


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_plans_count_the_managed_ids(tmp_path: Path, device: str) -> None:
    """2^20 rows of 8 float32 are 32 MiB, with state (4 bytes a row) 36, with ids 92: 46 on each of 2 ranks.

    A rank of 64 MiB has 54.4 for tables, one of 48 has 40.8: enough for 18 MiB, and not for 46.
    """
    mib, meta = 2**20, torch.device("meta")
    bags = TableConfig(name="bags", rows=mib, dim=8, features=["a"], pooling="sum")
    plain = nn.ModuleDict({"of": embedding_bag_collection([bags], device=meta)})
    collection = manage(embedding_bag_collection([bags], device=meta), {"bags": Eviction()})
    managed = nn.ModuleDict({"of": collection})
    settings = TrainingSettings.model_validate({"sharding": {"bags": {"types": ["row_wise"]}}})

    def plan(model: nn.Module, memory: int) -> PlanReport:
        other = 2**30 if device == "cuda" else memory
        cluster = Cluster(ranks_per_node=2, device=device, hbm=memory, ddr=other)
        sized = ModelProfile(model, {}, dense_bytes=0)
        return plan_for_cluster(sized, settings, cluster, tmp_path / "plan.json")

    without, with_ids = plan(plain, 64 * mib), plan(managed, 64 * mib)
    memory = "hbm" if device == "cuda" else "ddr"
    (before,), (after,) = without.tables, with_ids.tables
    assert (before.managed_bytes, after.managed_bytes) == (0, 56 * mib)
    assert (after.weight_bytes, after.state_bytes) == (32 * mib, 4 * mib)
    assert getattr(after, f"{memory}_bytes") - getattr(before, f"{memory}_bytes") == 56 * mib
    assert (getattr(with_ids, memory) - getattr(without, memory)).tolist() == [28 * mib, 28 * mib]
    values = json.loads((tmp_path / "plan.json").read_text())
    assert values["expected"]["tables"]["of.bags"]["managed_bytes"] == 56 * mib
    for report, shown in ((without, False), (with_ids, True)):
        console = Console(record=True, width=200, file=io.StringIO())
        report.show(console)
        assert ("56.0 MiB" in console.export_text()) == shown

    plan(plain, 48 * mib)
    with pytest.raises(PlanError, match=r"the tables take 92\.0 MiB with optimizer state and managed ids"):
        plan(managed, 48 * mib)


def test_a_plan_for_gpus() -> None:
    toy = Toy(buckets=8, device=torch.device("meta"))
    options = place(
        toy,
        TrainingSettings(steps=1),
        Cluster(nodes=2, ranks_per_node=4, device="cuda", hbm=2**30, ddr=2**30),
    )
    assert {o.name: (o.sharding_type, o.compute_kernel, len(o.shards)) for o in options} == {
        "bags": ("row_wise", "fused", 8),
        "rows": ("row_wise", "fused", 8),
    }

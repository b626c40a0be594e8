"""Copies of small tables on every rank: chosen where the estimate gains, and only there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from torchrec.distributed.planner import EmbeddingShardingPlanner
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import ShardingOption
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import CPU_SPEEDS, Cluster, Speeds
from interactrank.sharding.planner.constraints import TableLoad, table_constraints
from interactrank.sharding.planner.placement import estimators_for, find_placement
from interactrank.sharding.planner.plan import place
from interactrank.sharding.planner.replication import replicable
from interactrank.sharding.planner.step_time import COPIES_MS, GROUP_MS, StepTime
from interactrank.sharding.sharders import sharders
from interactrank.sharding.tables import tables_of
from interactrank.sharding.types import ShardingType
from interactrank.training.settings import TrainingSettings
from tests.sharding.planner.test_placement import Model

GIB = 2**30
SETTINGS = TrainingSettings()
CPUS = Cluster(ranks_per_node=2, device="cpu", ddr=GIB)
GPUS = Cluster(nodes=2, ranks_per_node=4, hbm=GIB, ddr=GIB)
TRIED: list[ShardingType] = ["table_wise", "row_wise", "data_parallel"]


def types(
    model: Model, cluster: Cluster, loads: Mapping[str, TableLoad] | None = None, **settings: Any
) -> dict[str, str]:
    placed = place(model, TrainingSettings.model_validate(settings), cluster, loads=loads)
    return {option.name: option.sharding_type for option in placed}


@pytest.mark.parametrize("cluster", [CPUS, GPUS], ids=["cpu", "cuda"])
def test_tables_of_a_few_rows_are_on_every_rank(cluster: Cluster) -> None:
    """All ranks have their part of the large table, so that none is idle enough to serve a small one."""
    model = Model({"country": 5, "word": 300, "item": 10**6})
    chosen = types(model, cluster, sharding={"item": {"types": ["row_wise"]}})
    assert chosen == {"country": "data_parallel", "word": "data_parallel", "item": "row_wise"}


def test_a_large_table_is_not() -> None:
    assert types(Model({"item": 10**6}), CPUS)["item"] in ("table_wise", "row_wise")


def test_sequence_tables_only_where_the_kernel_can() -> None:
    model = Model({"item": 10**6}, sequence=5)
    assert types(model, GPUS)["events"] == "data_parallel"
    assert types(model, CPUS)["events"] == "table_wise"


def test_nothing_is_replicated_that_would_train_otherwise_or_has_nobody_to_share_with() -> None:
    """Adam's moments move all rows of a replicated table, and only looked-up rows of a sharded one."""
    model = Model({"country": 5})
    assert types(model, GPUS, table_optimizer={"name": "adam"}) == {"country": "table_wise"}
    assert types(model, Cluster(hbm=GIB, ddr=GIB)) == {"country": "table_wise"}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({"types": ["row_wise"]}, "row_wise"),
        ({"kernels": ["fused"]}, "row_wise"),
        ({"types": ["data_parallel", "row_wise"]}, "data_parallel"),
        ({"types": ["table_wise"]}, "table_wise"),
    ],
)
def test_settings_override_the_choice(asked: dict[str, Any], chosen: str) -> None:
    assert types(Model({"word": 64}), CPUS, sharding={"word": asked}) == {"word": chosen}


def test_rows_decide_by_what_a_step_receives() -> None:
    """2 ranks that receive 10 vectors each: 20 rows at most."""
    tables = tables_of(Model({"small": 20, "large": 21}))
    loads = dict.fromkeys(("small", "large"), TableLoad((10,), (3.0,)))
    assert replicable(tables, CPUS, SETTINGS.table_optimizer, loads) == {"small"}
    # 8 ranks x 10 vectors x 4 links of a node.
    assert len(replicable(tables, GPUS, SETTINGS.table_optimizer, loads)) == 2
    # A sequence keeps every id's vector: 2 ranks x 10 rows x 3 ids.
    for rows, found in ((60, {"events"}), (61, set())):
        (events,) = (t for t in tables_of(Model({"a": 9}, sequence=rows)) if not t.pooled)
        sequence = {"events": TableLoad((10,), (3.0,))}
        one_node = Cluster(ranks_per_node=2, hbm=GIB, ddr=GIB)
        assert replicable([events], one_node, SETTINGS.table_optimizer, sequence) == found


def test_the_time_of_a_gradients_exchange_by_hand() -> None:
    """1000 rows of 64 float32: 256,000 bytes, on 2 nodes of 4."""
    speeds = Speeds(hbm=1e12, within=1e11, between=1e10)
    cluster = Cluster(nodes=2, ranks_per_node=4, hbm=GIB, ddr=GIB, speeds=speeds)
    asked = {"sharding": {"t": {"types": ["data_parallel"]}}}
    (option,) = place(Model({"t": 1000}), TrainingSettings.model_validate(asked), cluster)
    # A ring of 4 within the node, and one of 2 nodes for each rank's quarter.
    within, between = 2 * 3 / 4 * 256_000 / 1e11, 2 * 1 / 2 * 64_000 / 1e10
    assert len(option.shards) == 8
    for shard in option.shards:
        assert shard.perf.fwd_comms == 0
        assert shard.perf.bwd_comms == pytest.approx(1e3 * (within + between))


def test_a_plan_says_why_a_table_is_on_every_rank() -> None:
    model = Model({"country": 5})
    placed = place(model, SETTINGS, CPUS)
    assert set(placed.reasons) == {"bags.country"}
    assert "ms a step on each rank; as row_wise it would take " in placed.reasons["bags.country"]
    asked = {"sharding": {"country": {"types": ["data_parallel"]}}}
    placed = place(model, TrainingSettings.model_validate(asked), CPUS)
    assert placed.reasons == {"bags.country": "training.sharding asks for it"}


def test_a_copy_that_does_not_fit_is_refused_with_its_size() -> None:
    """A million rows of 64: 256 MB, its gradients twice that, and 4 MB of state, on ranks of 0.5 GB."""
    asked = {"sharding": {"t": {"types": ["data_parallel"]}}}
    small = Cluster(ranks_per_node=2, device="cpu", ddr=5 * 10**8)
    with pytest.raises(PlanError, match=r"Last obstacle: .*\d+\.\d MiB of DDR"):
        place(Model({"t": 10**6}), TrainingSettings.model_validate(asked), small)


def expected(options: list[ShardingOption], cluster: Cluster) -> float:
    """What plans are compared by: the busiest rank, and a fixed time for each group of tables."""
    ms = [0.0] * cluster.ranks
    for option in options:
        for shard in option.shards:
            ms[shard.rank] += shard.perf.total
    return max(ms) + fixed({o.sharding_type for o in options}, cluster)


def fixed(kinds: set[str], cluster: Cluster) -> float:
    """What the groups of tables of a collection cost, whatever their size."""
    copies = COPIES_MS[cluster.device] if "data_parallel" in kinds else 0.0
    return len(kinds - {"data_parallel"}) * GROUP_MS[cluster.device] + copies


def all_plans(model: Model, cluster: Cluster, loads: Mapping[str, TableLoad]) -> float:
    """The best of all plans: each table's shards on each rank, without the planner's search."""
    constraints = constraints_for(model, cluster, loads)
    topology = cluster.topology()
    found = EmbeddingEnumerator(
        topology, 512, constraints, estimators_for(topology, constraints, tables_of(model), None)
    ).enumerate(model, sharders(SETTINGS))
    tables: dict[str, list[tuple[str, list[tuple[int, float]]]]] = {}
    for o in found:
        times = [s.perf.total for s in o.shards]
        every = (
            [list(enumerate(times))] if len(times) > 1 else [[(r, times[0])] for r in range(cluster.ranks)]
        )
        tables.setdefault(o.name, []).extend((o.sharding_type, shards) for shards in every)
    best = float("inf")
    for plan in itertools.product(*tables.values()):
        ms = [0.0] * cluster.ranks
        for rank, time in itertools.chain.from_iterable(shards for _, shards in plan):
            ms[rank] += time
        best = min(best, max(ms) + fixed({kind for kind, _ in plan}, cluster))
    return best


def constraints_for(model: Model, cluster: Cluster, loads: Mapping[str, TableLoad]) -> dict:
    return table_constraints(
        model,
        SETTINGS,
        device_type=cluster.device,
        ranks=cluster.ranks,
        ranks_per_node=cluster.ranks_per_node,
        kernels=["fused"],
        loads=loads,
        defaults=dict.fromkeys((t.name for t in tables_of(model)), TRIED),
    )


CASES = {
    "two small, one large": ({"a": 5, "b": 300, "c": 10**5}, (200, 200, 200), (1.0, 5.0, 1.0)),
    "near the border": ({"a": 700, "b": 1500, "c": 3000}, (500, 500, 500), (2.0, 1.0, 3.0)),
    "rarely looked up": ({"a": 50, "b": 20_000, "c": 40_000}, (1, 300, 300), (1.0, 9.0, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("ranks", [2, 4, 6])
def test_no_plan_at_all_is_faster_on_small_cases(name: str, device: str, ranks: int) -> None:
    rows, of_batch, ids = CASES[name]
    loads = {t: TableLoad((r,), (i,)) for t, r, i in zip(rows, of_batch, ids, strict=True)}
    cluster = Cluster(ranks_per_node=ranks, device=device, hbm=GIB if device == "cuda" else 0, ddr=GIB)
    model = Model(rows)
    placed = find_placement(
        model, constraints_for(model, cluster, loads), cluster.topology(), RowWiseAdagrad, sharders(SETTINGS)
    )
    best = all_plans(model, cluster, loads)
    assert expected(placed, cluster) <= best * 1.06  # shards are placed in one order only


@pytest.mark.parametrize("ranks", [4, 8])
def test_never_slower_than_torchrecs_planner_with_the_same_options(ranks: int) -> None:
    rows = {"a": 5, "b": 300, "c": 3000, "d": 50_000, "e": 2 * 10**5}
    model = Model(rows)
    loads = {t: TableLoad((256,), (float(n + 1),)) for n, t in enumerate(rows)}
    cluster = Cluster(ranks_per_node=ranks, hbm=GIB, ddr=GIB)
    topology = cluster.topology()

    def constraints() -> dict:
        return constraints_for(model, cluster, loads)

    ours = find_placement(model, constraints(), topology, RowWiseAdagrad, sharders(SETTINGS))
    estimators = estimators_for(topology, constraints(), tables_of(model), None)
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=512,
        constraints=constraints(),
        enumerator=EmbeddingEnumerator(topology, 512, constraints(), estimators),
        storage_reservation=FixedPercentageStorageReservation(0.0),
        performance_model=StepTime(topology),
        stats=[],
    )
    planner.plan(model, sharders(SETTINGS))
    theirs = list(planner._best_plan or [])
    assert expected(ours, cluster) <= expected(theirs, cluster) * 1.0001


def test_ranks_without_gpus_have_speeds_of_their_own() -> None:
    assert CPUS.rates == CPU_SPEEDS
    assert GPUS.rates == Speeds()
    assert Cluster(device="cpu", ddr=GIB, speeds=Speeds(ddr=5)).rates.ddr == 5


def test_one_rank_keeps_tables_whole_as_there_is_nothing_to_split() -> None:
    cluster = Cluster(ranks_per_node=1, device="cpu", ddr=GIB)
    placed = place(Model({"a": 700, "b": 100_000}), SETTINGS, cluster)
    assert {option.sharding_type for option in placed} == {"table_wise"}


def test_few_copies_next_to_tables_that_travel_anyway_do_not_pay() -> None:
    """Two tables of 10 rows save some bytes as copies, and cost a look-up and an update of their own."""
    cluster = Cluster(ranks_per_node=2, device="cpu", ddr=GIB)
    some = place(Model({"a": 10, "b": 10, "large": 1_000_000}), SETTINGS, cluster)
    assert "data_parallel" not in {option.sharding_type for option in some}
    alone = place(Model({"a": 10, "b": 10}), SETTINGS, cluster)
    assert {option.sharding_type for option in alone} == {"data_parallel"}

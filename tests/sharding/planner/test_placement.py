"""The planner for large clusters: TorchRec's estimates, and layouts that suit tables and machines."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchrec.distributed.planner import ParameterConstraints
from torchrec.distributed.planner.constants import DEFAULT_PERF_ESTIMATOR
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.estimator import EmbeddingPerfEstimatorFactory
from torchrec.distributed.planner.types import Perf, Shard, ShardingOption, Storage
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from interactrank.distributed.world import World
from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import Cluster, cluster_of
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.estimators import CachedPerfEstimator
from interactrank.sharding.planner.placement import find_placement
from interactrank.sharding.planner.plan import place
from interactrank.sharding.planner.proposer import WeightedProposer
from interactrank.sharding.planner.suited import FEW_PARTS, suited_types
from interactrank.sharding.sharders import sharders
from interactrank.sharding.tables import tables_of
from interactrank.training.settings import TrainingSettings

SHARDERS = sharders(TrainingSettings())
META = torch.device("meta")
GIB = 2**30
ALL = ["table_wise", "row_wise", "column_wise", "table_row_wise", "table_column_wise", "grid_shard"]


class Model(nn.Module):
    """Pooled tables and one of sequences, without weights."""

    def __init__(self, rows: dict[str, int], dim: int = 64, sequence: int = 0) -> None:
        super().__init__()
        self.bags = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(name=n, embedding_dim=dim, num_embeddings=r, feature_names=[n])
                for n, r in rows.items()
            ],
            device=META,
        )
        if sequence:
            events = EmbeddingConfig(
                name="events", embedding_dim=dim, num_embeddings=sequence, feature_names=["events"]
            )
            self.events = EmbeddingCollection(tables=[events], device=META)


def test_one_estimate_for_each_size_is_torchrecs_own() -> None:
    """1000 rows over 64 ranks: 62 parts of 16 rows, one of 8, one of none."""
    model = Model({"a": 1000, "b": 10**6}, sequence=777)
    topology = Cluster(nodes=8, ranks_per_node=8, hbm=GIB, ddr=GIB).topology()
    constraints = {
        "a": ParameterConstraints(sharding_types=ALL, min_partition=32),
        "b": ParameterConstraints(sharding_types=ALL, pooling_factors=[7.0], batch_sizes=[300]),
    }
    own = EmbeddingPerfEstimatorFactory.create(
        DEFAULT_PERF_ESTIMATOR, topology=topology, constraints=constraints
    )
    found = []
    for estimator in (own, CachedPerfEstimator(own)):
        options = EmbeddingEnumerator(topology, 512, constraints, [estimator]).enumerate(model, SHARDERS)
        found.append(
            {
                (o.fqn, o.sharding_type, o.compute_kernel): [(s.size, s.perf) for s in o.shards]
                for o in options
            }
        )
    assert found[0] == found[1]
    assert ("bags.a", "grid_shard", "fused") in found[0]


def option(kind: str, ms: list[float], hbm: int = 1, table: str = "t") -> ShardingOption:
    shards = [Shard([1, 4], [n, 0], Storage(hbm, 0), Perf(m, 0, 0, 0)) for n, m in enumerate(ms)]
    tensor = torch.empty(len(ms), 4, device=META)
    return ShardingOption(table, tensor, ("m", nn.Module()), [1.0], 1, kind, "device", "fused", shards)


def test_proposals_run_from_least_work_to_smallest_parts() -> None:
    topology = Cluster(nodes=1, ranks_per_node=4, hbm=1000, ddr=1000).topology()
    proposer = WeightedProposer(topology)
    # Work 8 in one part; 12 in four parts of 3; the third has a part that no rank of 850 can hold.
    proposer.load([option("whole", [8.0]), option("spread", [3.0] * 4), option("vast", [1.0], hbm=851)])
    found = []
    while (proposal := proposer.propose()) is not None:
        found.append(proposal[0].sharding_type)
        proposer.feedback(partitionable=True)
    # Mean work over 4 ranks is 2 against 3; the largest part 8 against 3: 2 + 8w < 3 + 3w while w < 0.2.
    assert found == ["whole", "spread"]


def test_a_table_too_many_for_a_rank_does_not_spread_all_others() -> None:
    """Ranks of 850. Whole is less work for both; 800 is above 0.9 of a rank, 300 above 0.25, 50 never."""
    proposer = WeightedProposer(Cluster(nodes=1, ranks_per_node=4, hbm=1000, ddr=1000).topology())
    proposer.load(
        [
            option("whole", [1.0], hbm=800, table="large"),
            option("spread", [9.0] * 4, hbm=50, table="large"),
            option("whole", [1.0], hbm=300, table="medium"),
            option("spread", [9.0] * 4, hbm=50, table="medium"),
        ]
    )
    found = []
    while (proposal := proposer.propose()) is not None:
        found.append({o.name: o.sharding_type for o in proposal})
        proposer.feedback(partitionable=False)
    assert found == [
        {"large": "whole", "medium": "whole"},
        {"large": "spread", "medium": "whole"},
        {"large": "spread", "medium": "spread"},
    ]


def test_a_table_larger_than_a_machine_leaves_others_on_theirs() -> None:
    """The first takes 1.1 TB, a machine has 584 GB; its part and that of the second do not fit on a GPU."""
    total, share = 2.5e12 / (4 * 128), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    model = Model({f"t{n}": int(total * s / sum(share)) for n, s in enumerate(share)}, dim=128)
    cluster = Cluster(nodes=32, ranks_per_node=8, hbm=80 * GIB, ddr=200 * GIB)
    loads = {f"t{n}": TableLoad((512,), (10.0,)) for n in range(5)}
    placed = place(model, TrainingSettings(), cluster, loads=loads)
    assert [o.sharding_type for o in placed] == ["row_wise"] * 2 + ["table_row_wise"] * 3


def test_layouts_suit_the_size_of_a_table_and_the_machines() -> None:
    rows = {f"small_{n}": 1000 for n in range(20)}
    rows |= {"busy": 1000, "machine": 10**9, "huge": 5 * 10**9}
    model = Model(rows, sequence=10**9)
    tables = tables_of(model)
    sizes = {t.name: t.bytes for t in tables}
    # A rank has 68 GiB for tables, a machine 544 GiB; machine takes 238 GiB, huge 1.16 TiB.
    cluster = Cluster(nodes=64, ranks_per_node=8, hbm=80 * GIB, ddr=200 * GIB)
    assert len(tables) * cluster.ranks > FEW_PARTS
    loads = {name: TableLoad((8,), (0.001,)) for name in rows} | {"busy": TableLoad((8,), (50.0,))}
    types = suited_types(tables, cluster, sizes, loads)
    assert types["small_3"] == ["table_wise"]
    assert types["busy"] == types["machine"] == ["table_wise", "table_row_wise"]
    assert types["huge"] == ["row_wise", "table_row_wise"]
    assert types["events"] == ["table_wise", "row_wise"]
    few = suited_types(tables, Cluster(nodes=2, ranks_per_node=8, hbm=GIB, ddr=GIB), sizes, loads)
    assert few["small_3"] == ["table_wise", "row_wise", "table_row_wise"]
    one = suited_types(tables, Cluster(ranks_per_node=8, hbm=GIB, ddr=GIB), sizes, loads)
    assert one["small_3"] == ["table_wise", "row_wise"]


def test_tables_that_do_not_fit_the_gpus_go_to_the_hosts() -> None:
    model = Model({"a": 4 * 10**6})  # 1 GB
    gpus = Cluster(ranks_per_node=2, hbm=GIB // 4, ddr=2 * GIB)
    (placed,) = place(model, TrainingSettings(), gpus)
    assert placed.compute_kernel == "fused_uvm_caching"
    (roomy,) = place(model, TrainingSettings(), Cluster(ranks_per_node=2, hbm=2 * GIB, ddr=2 * GIB))
    assert roomy.compute_kernel == "fused"
    # On CPU what is reserved is taken off the host's memory: 1 GB in 1.1 GB does not leave a seventh.
    (spread,) = place(
        model, TrainingSettings(), Cluster(ranks_per_node=2, device="cpu", ddr=int(1.1 * 10**9))
    )
    assert spread.sharding_type == "row_wise"


def test_a_table_without_a_machine_for_its_parts_is_told_with_its_size() -> None:
    """Three tables of 1 GB, of which a machine of 1.4 GB takes one, on two machines."""
    model = Model(dict.fromkeys("abc", 4 * 10**6))
    only = {"types": ["table_row_wise"], "kernels": ["fused"]}
    settings = TrainingSettings.model_validate({"sharding": dict.fromkeys("abc", only)})
    said = "can't find a host for all shards of a table, which take 992.8 MiB of HBM and 0 B of DDR"
    with pytest.raises(PlanError, match=f"Last obstacle: {said}$"):
        place(model, settings, Cluster(nodes=2, ranks_per_node=2, hbm=8 * GIB // 10, ddr=GIB))


def test_the_optimizers_state_counts_and_leaves_no_trace() -> None:
    model = Model({"a": 10**6})
    cluster = Cluster(hbm=GIB, ddr=GIB)
    constraints = {"a": ParameterConstraints(sharding_types=["table_wise"], compute_kernels=["fused"])}
    bytes_of = {}
    for kind in (RowWiseAdagrad, torch.optim.Adam, torch.optim.SGD):
        (placed,) = find_placement(model, dict(constraints), cluster.topology(), kind, SHARDERS)
        bytes_of[kind] = placed.total_storage.hbm
        assert not hasattr(tables_of(model)[0].weight, "_optimizer_classes")
    assert bytes_of[RowWiseAdagrad] - bytes_of[torch.optim.SGD] == 4 * 10**6
    assert bytes_of[torch.optim.Adam] - bytes_of[torch.optim.SGD] == 2 * 64 * 4 * 10**6


@pytest.mark.slow
def test_a_thousand_ranks_and_ten_terabytes() -> None:
    """39 billion rows of 64 float32 are 10 TB; the plan is complete and within every rank's memory."""
    rows = {f"t{n}": 10**6 * 4**n for n in range(7)} | {"big": 10**10, "bigger": 23 * 10**9}
    model = Model(rows)
    assert sum(t.bytes for t in tables_of(model)) > 9.8e12
    cluster = Cluster(nodes=128, ranks_per_node=8, hbm=80 * GIB, ddr=200 * GIB)
    placed = place(model, TrainingSettings(), cluster, loads={n: TableLoad((512,), (2.0,)) for n in rows})
    assert {o.name for o in placed} == set(rows)
    used = [0] * cluster.ranks
    for o in placed:
        assert sum(s.size[0] * s.size[1] for s in o.shards) == rows[o.name] * 64
        for shard in o.shards:
            used[shard.rank] += shard.storage.hbm
    assert max(used) <= cluster.usable()[0]


def test_half_precision_halves_the_expected_exchange() -> None:
    model = Model({"a": 10**6})
    cluster = Cluster(nodes=2, ranks_per_node=4, hbm=GIB, ddr=GIB)
    expected = {}
    for precision in ("fp32", "fp16"):
        asked = {"sharding": {"a": {"types": ["table_wise"]}}, "comms": {"forward": precision}}
        (placed,) = place(model, TrainingSettings.model_validate(asked), cluster)
        expected[precision] = placed.shards[0].perf
    assert expected["fp16"].fwd_comms == expected["fp32"].fwd_comms / 2
    assert expected["fp16"].bwd_comms == expected["fp32"].bwd_comms


def test_the_machines_of_a_job() -> None:
    def machines(size: int, local_size: int) -> tuple[int, int]:
        cluster = cluster_of(World(0, size, 0, local_size, torch.device("cpu")))
        assert cluster.ranks == size
        return cluster.nodes, cluster.ranks_per_node

    assert machines(1, 1) == (1, 1)
    assert machines(8, 4) == (2, 4)
    assert machines(6, 4) == (6, 1)  # 4 + 2

"""A plan file whose tables do not fit is refused with sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchrec.distributed.planner.planners import to_sharding_plan

from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.plan import place
from interactrank.sharding.planner.plan_file import plan_values, read_plan, write_plan
from interactrank.training.settings import TrainingSettings
from tests.sharding.planner.test_placement import Model

MIB = 2**20
ROWS = MIB  # of 64 float32: 256 MiB, and 4 MiB of row-wise Adagrad's state


def plan(tmp_path: Path, kind: str, cluster: Cluster) -> Path:
    """A plan made where there is room."""
    model = Model({"t": ROWS})
    settings = TrainingSettings.model_validate({"sharding": {"t": {"types": [kind]}}})
    made = to_sharding_plan(place(model, settings, cluster), cluster.topology())
    per_node = cluster.ranks_per_node
    return write_plan(
        tmp_path / "p.json", plan_values(model, made, ranks=cluster.ranks, ranks_per_node=per_node)
    )


def cluster(device: str, mib: int) -> Cluster:
    """Two ranks with so many MiB for tables, behind the 15 % that are kept free."""
    size = int(mib * MIB / 0.85) + 2
    return Cluster(ranks_per_node=2, device=device, hbm=size if device == "cuda" else 0, ddr=size)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("kind", "needs"),
    # Whole: 256 + 4. A copy has twice its weights as gradients. Half of the rows each.
    [("table_wise", 260), ("data_parallel", 260 + 512), ("row_wise", 130)],
)
def test_what_a_rank_holds_decides(tmp_path: Path, device: str, kind: str, needs: int) -> None:
    path = plan(tmp_path, kind, cluster(device, 4096))
    model, settings = Model({"t": ROWS}), TrainingSettings()
    assert read_plan(path, model, settings, cluster(device, needs)).plan
    memory = "HBM" if device == "cuda" else "DDR"
    with pytest.raises(PlanError) as error:
        read_plan(path, model, settings, cluster(device, needs - 1))
    assert f"rank 0 would hold {needs}.0 MiB of tables" in str(error.value)
    assert f"in {memory}, and has {needs - 1}.0 MiB for them" in str(error.value)
    assert f"bags.t ({kind}): {needs}.0 MiB on a rank" in str(error.value)


def test_a_copy_for_checkpoints_counts_in_the_hosts_memory(tmp_path: Path) -> None:
    path = plan(tmp_path, "row_wise", cluster("cpu", 4096))
    settings = TrainingSettings(checkpoint_async=True)
    assert read_plan(path, Model({"t": ROWS}), settings, cluster("cpu", 260)).plan
    with pytest.raises(PlanError, match=r"rank 0 would hold 260\.0 MiB"):
        read_plan(path, Model({"t": ROWS}), settings, cluster("cpu", 259))

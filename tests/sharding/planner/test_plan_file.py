"""Plans as files: what is written is trained by, and what does not fit is refused by table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from torchrec.distributed.planner.planners import to_sharding_plan

from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.errors import PlanError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.plan import make_plan, place
from interactrank.sharding.planner.plan_file import plan_values, read_plan, write_plan
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.sharding.test_shard import settings_for
from tests.toy import ToyLoader, ToyModel

HOST = 2**30
GPUS = Cluster(nodes=2, ranks_per_node=2, hbm=2**30, ddr=2**30)
TABLES: dict[str, dict[str, Any]] = {
    "ebc.queries": {"rows": 21, "dim": 8, "sharding": "table_wise", "kernel": "fused", "ranks": "1"},
    "ebc.words": {"rows": 16, "dim": 8, "sharding": "row_wise", "kernel": "fused", "ranks": "0-3"},
    "ec.products": {"rows": 13, "dim": 8, "sharding": "column_wise", "kernel": "fused", "ranks": "3, 0"},
}


def plan_file(folder: Path, ranks: int = 4, per_node: int = 2, **changes: dict[str, Any]) -> Path:
    """A plan with other entries for some tables (``ebc_words`` is ebc.words); None takes one out."""
    tables = {name: {**of, **changes.get(name.replace(".", "_"), {})} for name, of in TABLES.items()}
    values = {"format": "interactrank plan 1", "ranks": ranks, "ranks_per_node": per_node, "tables": tables}
    return write_plan(folder / "plan.json", values)


def test_parts_follow_from_the_ranks(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path), ToyModel(), TrainingSettings(), GPUS).plan

    def parts(collection: str, table: str) -> list[tuple[int, list[int], list[int]]]:
        shards = plan[collection][table].sharding_spec.shards
        return [(s.placement.rank(), s.shard_offsets, s.shard_sizes) for s in shards]

    assert parts("ebc", "queries") == [(1, [0, 0], [21, 8])]
    assert parts("ebc", "words") == [(rank, [4 * rank, 0], [4, 8]) for rank in range(4)]
    assert parts("ec", "products") == [(3, [0, 0], [13, 4]), (0, [0, 4], [13, 4])]


def test_types_of_whole_machines(tmp_path: Path) -> None:
    path = plan_file(
        tmp_path,
        ebc_queries={"sharding": "table_row_wise", "ranks": "2-3"},
        ebc_words={"sharding": "grid_shard", "ranks": "2-3, 0-1", "kernel": "fused_uvm"},
        ec_products={
            "sharding": "row_wise",
            "ranks": "0-3",
            "kernel": "fused_uvm_caching",
            "cache_load_factor": 0.5,
        },
    )
    plan = read_plan(path, ToyModel(), TrainingSettings(), GPUS).plan
    shards = plan["ebc"]["words"].sharding_spec.shards
    # 16 rows in two halves on each machine, columns 0-3 on the second machine and 4-7 on the first.
    assert [(s.placement.rank(), s.shard_offsets) for s in shards] == [
        (2, [0, 0]),
        (3, [8, 0]),
        (0, [0, 4]),
        (1, [8, 4]),
    ]
    assert plan["ec"]["products"].cache_params.load_factor == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ebc_queries": {"rows": 22}}, "table ebc.queries: 22 x 8 in the plan, 21 x 8 in the model"),
        ({"ebc_queries": {"rows": "21"}}, 'table ebc.queries: rows is "21"; write a whole number'),
        ({"ebc_words": {"cache_load_factor": "a"}}, 'cache_load_factor "a": goes with fused_uvm_caching'),
        ({"ebc_queries": {"ranks": "4"}}, "table ebc.queries: ranks 4 are outside of this job's 4 (from 0)"),
        ({"ebc_queries": {"ranks": "0-1"}}, "table ebc.queries: table_wise needs one rank, not 2"),
        ({"ebc_queries": {"ranks": "x"}}, "table ebc.queries: ranks 'x': write them as '0-7' or '3, 5'"),
        ({"ebc_queries": {"ranks": 1}}, "table ebc.queries: ranks 1: write them as"),
        ({"ebc_queries": {"ranks": "3-1"}}, "ranks '3-1': a range must count up"),
        ({"ebc_queries": {"ranks": "0-99999999999"}}, "99999999999 is more than 1,000,000"),
        ({"ebc_words": {"ranks": "0-2"}}, "table ebc.words: row_wise needs all ranks in order, '0-3'"),
        ({"ebc_words": {"sharding": "row-wise"}}, "sharding 'row-wise' is unknown; did you mean 'row_wise'?"),
        ({"ebc_words": {"kernel": "dense"}}, "kernel 'dense' cannot run row_wise on cuda; allowed: fused,"),
        ({"ebc_words": {"cache_load_factor": 0.1}}, "cache_load_factor 0.1: goes with fused_uvm_caching"),
        ({"ebc_words": {"shards": 2}}, "table ebc.words: unknown key 'shards'"),
        (
            {"ebc_words": {"sharding": "table_row_wise", "ranks": "1-2"}},
            "table_row_wise needs the 2 ranks of one node in order, such as '0-1'",
        ),
        ({"ebc_words": {"sharding": "grid_shard", "ranks": "1-2"}}, "grid_shard needs whole nodes"),
        (
            {"ebc_words": {"sharding": "table_column_wise", "ranks": "1, 2"}},
            "table_column_wise needs ranks of one node (2 each)",
        ),
        ({"ec_products": {"ranks": "0-2"}}, "8 columns do not make 3 shards whose width is a multiple of 4"),
        (
            {"ec_products": {"sharding": "grid_shard"}},
            "ec.products: sharding 'grid_shard' does not work",
        ),
    ],
)
def test_what_does_not_fit_is_named_by_table(
    tmp_path: Path, changes: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        read_plan(plan_file(tmp_path, **changes), ToyModel(), TrainingSettings(), GPUS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tabels": {}}, "unknown key 'tabels'; did you mean 'tables'?"),
        ({"ranks": "4"}, 'ranks is "4"; write a whole number, such as 4'),
        ({"ranks_per_node": None}, "ranks_per_node is null; write a whole number, such as 2"),
    ],
)
def test_the_head_of_the_file_is_checked(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = plan_file(tmp_path)
    write_plan(path, {**json.loads(path.read_text()), **change})
    with pytest.raises(PlanError, match=re.escape(message)):
        read_plan(path, ToyModel(), TrainingSettings(), GPUS)


@pytest.mark.parametrize(
    ("asked", "planned", "message"),
    [
        ({"kernels": ["fused_uvm"]}, {}, "kernel fused, but training.sharding asks for fused_uvm"),
        (
            {"kernels": ["fused_uvm_caching"], "cache_load_factor": 0.1},
            {"kernel": "fused_uvm_caching", "cache_load_factor": 0.9},
            "cache_load_factor 0.9, but training.sharding asks for 0.1",
        ),
        (
            {"kernels": ["fused_uvm_caching"], "cache_load_factor": 0.1},
            {"kernel": "fused_uvm_caching"},
            "no cache_load_factor, but training.sharding asks for 0.1",
        ),
        (
            {"types": ["column_wise"], "column_width": 8},
            {"sharding": "column_wise", "ranks": "0-1"},
            "shards of 4 columns, but training.sharding asks for 8",
        ),
        (
            {"types": ["grid_shard"], "column_width": 8},
            {"sharding": "grid_shard", "ranks": "0-3"},
            "shards of 4 columns, but training.sharding asks for 8",
        ),
    ],
)
def test_the_plan_must_not_contradict_the_settings(
    tmp_path: Path, asked: dict[str, Any], planned: dict[str, Any], message: str
) -> None:
    settings = TrainingSettings.model_validate({"sharding": {"words": asked}})
    path = plan_file(tmp_path, ebc_words=planned)
    with pytest.raises(PlanError, match=re.escape(f"table ebc.words: {message}")):
        read_plan(path, ToyModel(), settings, GPUS)
    read_plan(path, ToyModel(), TrainingSettings(), GPUS)


def test_what_the_planner_makes_of_the_settings_is_no_contradiction(tmp_path: Path) -> None:
    asked = {
        "queries": {"types": ["grid_shard"], "column_width": 4},
        "words": {"kernels": ["fused_uvm_caching"], "cache_load_factor": 0.1},
        "products": {"types": ["column_wise"], "column_width": 8, "kernels": ["fused_uvm"]},
    }
    settings = TrainingSettings.model_validate({"sharding": asked})
    plan = to_sharding_plan(place(ToyModel(), settings, GPUS), GPUS.topology())
    values = plan_values(ToyModel(), plan, ranks=4, ranks_per_node=2)
    read_plan(write_plan(tmp_path / "plan.json", values), ToyModel(), settings, GPUS)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = plan_file(tmp_path, ranks=8, ebc_queries={"dim": 16}, ebc_words={"ranks": "0-7"})
    values = json.loads(path.read_text())
    values["tables"]["ec.product"] = values["tables"].pop("ec.products")
    write_plan(path, values)
    settings = settings_for({"queries": "row_wise"})
    with pytest.raises(PlanError) as error:
        read_plan(path, ToyModel(), settings, GPUS)
    assert str(error.value).split("\n  - ")[1:] == [
        "ranks is 8 in the plan and 4 in this job",
        "table ec.product: not in the model; did you mean 'ec.products'?",
        "table ec.products: not in the plan",
        "table ebc.queries: 21 x 16 in the plan, 21 x 8 in the model",
        "table ebc.queries: table_wise, but training.sharding asks for row_wise",
        "table ebc.words: ranks 4-7 are outside of this job's 4 (from 0)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the plan"),
        ("{", "cannot read the plan"),
        ("[]", "is not a plan"),
        ('{"format": "interactrank plan 0"}', "'format' is not 'interactrank plan 1'"),
        ('{"format": "interactrank plan 1", "tables": [1]}', "'tables' must name each table"),
        (
            '{"format": "interactrank plan 1", "tables": {"ebc.words": {}}}',
            "words: dim, kernel, ranks, rows",
        ),
    ],
)
def test_a_file_that_is_no_plan(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PlanError, match=re.escape(message)):
        read_plan(path, ToyModel(), TrainingSettings(), GPUS)


def _train_by(path: str, output: str) -> tuple[str, dict[str, str]]:
    settings = settings_for({})
    try:
        result = train(ToyModel(), ToyLoader(current_world().rank), settings, output, plan=path)
    except (PlanError, RuntimeError) as error:
        return str(error), {}
    found = {t: of.sharding_type for part in result.dmp.plan.plan.values() for t, of in part.items()}
    return "", found


def test_training_follows_an_edited_plan_and_writes_its_own(tmp_path: Path) -> None:
    first = tmp_path / "first"
    run_ranks(2, _train_by, "", str(first))
    values = json.loads((first / "plan.json").read_text())
    small = {"sharding": "data_parallel", "kernel": "dense", "ranks": "0-1"}
    assert values["tables"]["ebc.words"] == {"rows": 16, "dim": 8} | small
    edited = {"sharding": "column_wise", "kernel": "fused", "ranks": "1, 0"}
    values["tables"]["ebc.words"] |= edited
    values["tables"]["ebc.queries"] |= small
    path = write_plan(tmp_path / "edited.json", values)
    for message, sharding in run_ranks(2, _train_by, str(path), str(tmp_path / "second")):
        assert message == ""
        assert (sharding["words"], sharding["queries"]) == ("column_wise", "data_parallel")
    # A training writes the plan that it followed.
    assert json.loads((tmp_path / "second" / "plan.json").read_text()) == values


def test_a_plan_that_does_not_fit_stops_all_ranks_before_anything_is_written(tmp_path: Path) -> None:
    path = plan_file(tmp_path, ranks=2, ebc_words={"ranks": "0-1"}, ec_products={"ranks": "0, 5"})
    output = tmp_path / "output"
    for message, _ in run_ranks(2, _train_by, str(path), str(output)):
        assert "table ec.products: ranks 5 are outside of this job's 2 (from 0)" in message
    assert [path.name for path in output.iterdir()] == [".lock"]


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    with process_group("cpu") as world:
        model = ToyModel()
        plan = make_plan(model, TrainingSettings(), world)
        values = plan_values(model, plan, ranks=1, ranks_per_node=1)
        path = write_plan(tmp_path / "plan.json", values)
        again = read_plan(path, model, TrainingSettings(), Cluster(device="cpu", ddr=HOST))
    assert plan_values(model, again, ranks=1, ranks_per_node=1) == values
    assert {path: sorted(map(str, part.items())) for path, part in again.plan.items()} == {
        path: sorted(map(str, part.items())) for path, part in plan.plan.items()
    }


def test_a_row_for_every_rank_on_cpu(tmp_path: Path) -> None:
    cluster = Cluster(ranks_per_node=12, device="cpu", ddr=HOST)
    path = plan_file(tmp_path, 12, 12, ebc_words={"ranks": "0-11"}, ec_products={"ranks": "3, 0"})
    with pytest.raises(PlanError, match=r"table ebc\.words: row_wise leaves ranks without a row"):
        read_plan(path, ToyModel(), TrainingSettings(), cluster)

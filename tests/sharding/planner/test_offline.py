"""`interactrank plan` below the command line: sizes, loads, costs, a picture, and what to do without room."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from interactrank.batch.layout import BatchLayout
from interactrank.core.errors import TrainingError
from interactrank.core.settings import parse_config
from interactrank.models import ModelSettings
from interactrank.runs.plan_inputs import (
    ModelProfile,
    RequestProfile,
    layout_of,
    measured_profile,
    profile_model,
)
from interactrank.schema import SearchSchema
from interactrank.sharding.byte_sizes import parse_bytes
from interactrank.sharding.errors import PlanError, ShardingError
from interactrank.sharding.planner.cluster import Cluster, Speeds
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.offline import plan_for_cluster
from interactrank.sharding.planner.plan_file import read_plan
from interactrank.sharding.planner.plots import plot_plan
from interactrank.sharding.planner.suggestions import smallest_feasible
from interactrank.training.settings import TrainingSettings
from tests.models.search import SMALL, prepared

GIB = 2**30
SCHEMA = parse_config(
    SearchSchema,
    {
        "events": {
            "request": "request",
            "query": "query",
            "item": "item",
            "time": "time",
            "user": "user",
            "engagements": {"click": "click"},
        },
        "items": {"id": "item"},
        "features": {
            "request": [
                {"name": "query", "kind": "id", "column": "query", "table": "query"},
                {"name": "query_words", "kind": "words", "column": "query", "table": "word"},
            ],
            "item": [
                {"name": "item", "kind": "id", "column": "item", "table": "item"},
                {"name": "title_words", "kind": "words", "column": "title", "table": "word"},
                {"name": "shop", "kind": "id", "column": "shop", "table": "shop"},
                {"name": "price", "kind": "number", "column": "price"},
            ],
        },
        "tables": {
            "query": {"dim": 64},
            "word": {"dim": 64, "ids": "hash", "rows": 1000},
            "item": {"dim": 64},
            "shop": {"dim": 64},
        },
        "heads": [{"name": "click", "engagements": ["click"]}],
        "sequence": {"length": 50, "item": "item"},
    },
)
SETTINGS = parse_config(ModelSettings, SMALL)
ROWS = {"query": 10**6, "item": 10**7, "shop": 10**5}


def sized(**changes: object) -> ModelProfile:
    values = {"batch_requests": 100, "rows": ROWS, "candidates": 3.0} | changes
    return profile_model(SCHEMA, SETTINGS, **values)  # type: ignore[arg-type]


def gpus(nodes: int = 2, hbm: int = 80 * GIB, ddr: int = 200 * GIB) -> Cluster:
    return Cluster(nodes=nodes, ranks_per_node=8, hbm=hbm, ddr=ddr)


def test_rows_come_from_the_config_or_the_user_and_unknown_ones_are_named() -> None:
    assert layout_of(SCHEMA, None, ROWS).table_rows == {**ROWS, "word": 1000}
    assert layout_of(SCHEMA, None, {**ROWS, "word": 5}).table_rows["word"] == 5
    with pytest.raises(TrainingError) as error:
        layout_of(SCHEMA, None, {"itm": 5, "query": 7})
    assert str(error.value).splitlines() == [
        "--rows itm: no such table; did you mean 'item'?",
        "the rows of item, shop are counted when the log is prepared: name a dataset with --data, or "
        "the rows with --rows item=1e7 --rows shop=1e7",
    ]


@pytest.mark.parametrize(("rows", "enough"), [(1001, 1004), (3, 8), (1000, None)])
def test_rows_that_buckets_cannot_share_are_refused(rows: int, enough: int | None) -> None:
    item = {"dim": 64, "ids": "managed", "rows": 64, "eviction_interval": 3, "buckets": 4}
    values = SCHEMA.model_dump()
    schema = parse_config(SearchSchema, {**values, "tables": {**values["tables"], "item": item}})
    if enough is None:
        assert layout_of(schema, None, {**ROWS, "item": rows}).table_rows["item"] == rows
        return
    with pytest.raises(TrainingError, match=f"--rows item={rows}: its 4 buckets .* take {enough}$"):
        layout_of(schema, None, {**ROWS, "item": rows})


def test_loads_by_hand() -> None:
    layout: BatchLayout = layout_of(SCHEMA, None, ROWS)
    ids = {"query": 1.0, "query_words": 2.0, "item": 1.0, "title_words": 6.0, "shop": 1.0}
    loads = RequestProfile(candidates=3.0, ids=ids, events=20.0).loads(layout, 100)
    assert loads == {
        "query": TableLoad((100,), (1.0,)),
        "shop": TableLoad((300,), (1.0,)),
        # 100 rows of 2 and 300 of 6: 2000 ids in 400 rows.
        "word": TableLoad((400,), (5.0,)),
        # No request feature, 300 rows of 1 and 100 sequences of 20: 2300 ids in 500 rows.
        "item": TableLoad((500,), (4.6,)),
    }


def test_loads_of_a_prepared_log(tmp_path: Path) -> None:
    log = prepared(tmp_path)
    demand = measured_profile(log, negatives=5)
    table = log.read("train", ["candidates", "events.item", "feature.query_words"])
    lengths = {name: [len(row) for row in table[name].to_pylist()] for name in table.column_names}
    assert demand.candidates == pytest.approx(5 + np.mean(lengths["candidates"]))
    assert demand.events == pytest.approx(np.mean(lengths["events.item"]))
    assert demand.ids["query_words"] == pytest.approx(np.mean(lengths["feature.query_words"]))
    model = profile_model(log.schema, SETTINGS, batch_requests=4, log=log)
    assert {n: tuple(p.shape) for n, p in model.model.tables.named_parameters()} == {
        n: tuple(p.shape)
        for n, p in profile_model(
            log.schema, SETTINGS, batch_requests=4, rows=log.layout.table_rows
        ).model.tables.named_parameters()
    }


def test_a_model_of_any_size_takes_no_memory() -> None:
    model = sized(rows={**ROWS, "item": 10**13})
    assert all(p.is_meta for p in model.model.parameters())
    assert 0 < model.dense_bytes < 10**6
    with pytest.raises(TrainingError, match=r"--ids itm: no such feature; did you mean 'item'\?"):
        sized(ids={"itm": 3.0})
    with pytest.raises(TrainingError, match=r"--rows itm: no such table.*\n(.*\n)*--ids itm.*\n--ids x: no"):
        sized(rows={"itm": 3}, ids={"itm": 3.0, "x": 1.0})
    assert sized(ids={"title_words": 9.0}).loads["word"] == TableLoad((400,), (8.0,))  # 100 x 5, 300 x 9


def test_a_plan_is_costed_written_drawn_and_read_back(tmp_path: Path) -> None:
    model = sized()
    settings = TrainingSettings.model_validate({"sharding": {"shop": {"types": ["data_parallel"]}}})
    path = tmp_path / "plan.json"
    report = plan_for_cluster(model, settings, gpus(), path)
    cost = {c.table.split(".")[-1]: c for c in report.tables}
    assert cost["item"].weight_bytes == 10**7 * 64 * 4
    assert cost["item"].state_bytes == 10**7 * 4
    assert (cost["shop"].sharding, cost["shop"].kernel) == ("data_parallel", "dense")
    assert cost["shop"].weight_bytes == 16 * 10**5 * 64 * 4  # a replica on each of 16 ranks
    assert (cost["shop"].gradient_bytes, cost["item"].gradient_bytes) == (2 * cost["shop"].weight_bytes, 0)
    for c in report.tables:
        assert c.hbm_bytes >= c.weight_bytes + c.state_bytes + c.gradient_bytes
        assert sum(c.ms.values()) > 0
    assert report.hbm.sum() == sum(c.hbm_bytes for c in report.tables)
    kinds = {c.sharding for c in report.tables if c.table.startswith("tables.")} - {"data_parallel"}
    assert report.groups >= len(kinds) > 0
    assert report.messages_ms == pytest.approx(0.1 * report.groups)
    assert report.step_ms == pytest.approx(report.ms.sum(axis=1).max() + 0.1 * report.groups)
    assert 0 < report.balance <= 1

    values = json.loads(path.read_text())
    expected = values["expected"]
    assert (values["ranks"], values["ranks_per_node"], expected["step_ms"]) == (
        16,
        8,
        round(report.step_ms, 4),
    )
    assert len(expected["ranks"]["ms"]["fwd_comms"]) == 16
    assert set(expected["tables"]) == set(values["tables"])
    again = read_plan(path, model.model, settings, gpus())
    assert {t: of.sharding_type for part in again.plan.values() for t, of in part.items()} == {
        name: c.sharding for name, c in cost.items()
    }
    assert plot_plan(report, tmp_path / "plan.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_copies_for_checkpoints_count_in_the_hosts_memory(tmp_path: Path, device: str) -> None:
    cluster = Cluster(ranks_per_node=8, device=device, hbm=80 * GIB if device == "cuda" else 0, ddr=4 * GIB)
    model = sized()
    asked = {"sharding": {"shop": {"types": ["data_parallel"]}, "item": {"types": ["row_wise"]}}}
    reports = []
    for copied in (False, True):
        settings = TrainingSettings.model_validate({**asked, "checkpoint_async": copied})
        reports.append(plan_for_cluster(model, settings, cluster, tmp_path / "plan.json"))
    without, with_copy = reports
    costs = {c.table.split(".")[-1]: c for c in with_copy.tables}
    assert costs["item"].copy_bytes == 10**7 * (64 * 4 + 4)
    assert costs["shop"].copy_bytes == 8 * 10**5 * (64 * 4 + 4)  # on each rank
    copies = sum(c.copy_bytes for c in with_copy.tables)
    assert with_copy.ddr.sum() - without.ddr.sum() == copies
    assert with_copy.hbm.sum() == without.hbm.sum()
    assert without.usable[1] - with_copy.usable[1] == model.dense_bytes * 3 // 4  # all but gradients
    for report, shown in ((without, False), (with_copy, True)):
        console = Console(record=True, width=250, file=io.StringIO())
        report.show(console)
        assert ("copy" in console.export_text()) == shown


def test_tables_whose_copy_does_not_fit_are_refused(tmp_path: Path) -> None:
    """3.4 GiB of 8 hosts hold 2.4 GiB of tables, not 4.9."""
    cluster = Cluster(ranks_per_node=8, device="cpu", ddr=GIB // 2)
    plan_for_cluster(sized(), TrainingSettings(), cluster, tmp_path / "plan.json")
    with pytest.raises(PlanError, match=r"with optimizer state and their copy for checkpoints \(training\."):
        plan_for_cluster(sized(), TrainingSettings(checkpoint_async=True), cluster, tmp_path / "plan.json")


@pytest.mark.parametrize(("terminal", "width"), [(False, 80), (True, 80), (True, 200)])
def test_names_are_printed_in_full(tmp_path: Path, terminal: bool, width: int) -> None:
    report = plan_for_cluster(sized(), TrainingSettings(), gpus(), tmp_path / "plan.json")
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, record=True)
    report.show(console)
    text = console.export_text()
    assert "…" not in text
    if (terminal, width) != (True, 80):  # there a name takes more than one line
        assert all(c.table in text and c.sharding in text for c in report.tables)
        assert all(header in text for header in ("rows x dim", "sharding", "fwd_compute", "bwd_comms"))


def test_too_many_ranks_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ShardingError, match="are 8,000,000 ranks; at most 16,384 can be planned: take fewer"):
        plan_for_cluster(sized(), TrainingSettings(), gpus(nodes=10**6), tmp_path / "plan.json")


def test_faster_memory_takes_less_time(tmp_path: Path) -> None:
    slow = plan_for_cluster(sized(), TrainingSettings(), gpus(), tmp_path / "a.json")
    speeds = Speeds(hbm=3000e9, within=900e9, between=50e9)
    fast = plan_for_cluster(sized(), TrainingSettings(), replace(gpus(), speeds=speeds), tmp_path / "b.json")
    assert fast.step_ms - fast.messages_ms < (slow.step_ms - slow.messages_ms) / 2


@pytest.mark.slow
def test_what_cannot_fit_is_refused_with_fixes_that_do(tmp_path: Path) -> None:
    """2e9 rows of 64 take 520 GB with state; 8 GPUs of 40 and 20 GiB of host have 408 GiB for tables."""
    model = sized(rows={**ROWS, "item": 2 * 10**9})
    cluster = gpus(nodes=1, hbm=40 * GIB, ddr=20 * GIB)
    with pytest.raises(PlanError) as error:
        plan_for_cluster(model, TrainingSettings(), cluster, tmp_path / "plan.json", suggestions=True)
    text = str(error.value)
    assert "the tables take 484.6 GiB with optimizer state, tables.events.item (2,000,000,000 x 64)" in text
    assert "272.0 GiB of HBM and 136.0 GiB of DDR" in text
    assert not (tmp_path / "plan.json").exists()
    nodes = int(re.search(r"--nodes (\d+)", text)[1])  # type: ignore[index]
    hbm = parse_bytes(re.search(r"--hbm (\w+)", text)[1])  # type: ignore[index]
    ddr = parse_bytes(re.search(r"--ddr (\w+)", text)[1])  # type: ignore[index]
    for fixed in (
        gpus(nodes, cluster.hbm, cluster.ddr),
        replace(cluster, hbm=hbm),
        replace(cluster, ddr=ddr),
    ):
        plan_for_cluster(model, TrainingSettings(), fixed, tmp_path / "plan.json")
    # One machine less, and a tenth less memory, do not do.
    for less in (
        gpus(nodes - 1, cluster.hbm, cluster.ddr),
        replace(cluster, hbm=int(0.9 * hbm)),
        replace(cluster, ddr=int(0.9 * ddr)),
    ):
        with pytest.raises(PlanError):
            plan_for_cluster(model, TrainingSettings(), less, tmp_path / "plan.json")


def test_plan_for_cluster__an_error_returns_at_once_and_names_the_flag(tmp_path: Path) -> None:
    model = sized(rows={**ROWS, "item": 2 * 10**9})
    with pytest.raises(PlanError, match="add --suggest") as error:
        plan_for_cluster(model, TrainingSettings(), gpus(1, 40 * GIB, 20 * GIB), tmp_path / "plan.json")
    assert "the tables take 484.6 GiB" in str(error.value)
    assert "--nodes" not in str(error.value)


@pytest.mark.slow
def test_a_forgotten_unit_is_told_with_a_size_that_does(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as error:
        plan_for_cluster(sized(), TrainingSettings(), gpus(hbm=80), tmp_path / "plan.json", suggestions=True)
    text = str(error.value)
    assert "--hbm 80 is 80 B: sizes without a unit are bytes; write 80GiB if meant so" in text
    enough = parse_bytes(re.search(r"--hbm (\d+GiB)", text)[1])  # type: ignore[index]
    plan_for_cluster(sized(), TrainingSettings(), gpus(hbm=enough), tmp_path / "plan.json")
    on_the_hosts = TrainingSettings.model_validate({"sharding": {"item": {"kernels": ["fused_uvm"]}}})
    with pytest.raises(PlanError, match="nor 4,096 GiB of HBM or DDR a rank are enough: change more"):
        plan_for_cluster(
            sized(), on_the_hosts, gpus(hbm=80, ddr=200), tmp_path / "plan.json", suggestions=True
        )


@pytest.mark.slow
def test_a_constraint_that_is_in_the_way_is_named(tmp_path: Path) -> None:
    model = sized(rows={**ROWS, "item": 2 * 10**8})  # 52 GB: too much for one GPU of 40 GiB
    asked = {"sharding": {"item": {"types": ["table_wise"], "kernels": ["fused"]}}}
    settings = TrainingSettings.model_validate(asked)
    with pytest.raises(PlanError, match=r"- no constraint on item \(training\.sharding\)"):
        plan_for_cluster(model, settings, gpus(1, 40 * GIB), tmp_path / "plan.json", suggestions=True)


def test_a_gigantic_table_kept_whole_has_no_fix_in_machines() -> None:
    assert smallest_feasible(range(1, 513), lambda n: False) is None
    assert smallest_feasible([1], lambda n: True) is None
    assert smallest_feasible(range(100, 10_001), lambda n: n >= 777, tolerance=0.05) in range(777, 817)


def test_the_smallest_of_numbers_with_gaps() -> None:
    numbers = [3, 4, 6, 7, 50, 51, 200]
    for least in range(4, 201):
        assert smallest_feasible(numbers, lambda n, least=least: n >= least) == min(
            n for n in numbers if n >= least
        )


@pytest.mark.slow
def test_clusters_that_cannot_share_a_table_are_no_fixes(tmp_path: Path) -> None:
    """1.5e9 managed rows of 64 take 436 GiB, and 8 GPUs have 272: two machines of 8 would do."""
    item = {"dim": 64, "ids": "managed", "rows": 15 * 10**8, "eviction_interval": 3}
    for buckets, fix in ((8, None), (16, 2), (32, 2), (24, 3)):
        tables = {**SCHEMA.model_dump()["tables"], "item": {**item, "buckets": buckets}}
        schema = parse_config(SearchSchema, {**SCHEMA.model_dump(), "tables": tables})
        model = profile_model(schema, SETTINGS, batch_requests=100, rows={"query": 10**6, "shop": 10**5})
        with pytest.raises(PlanError, match="the tables take") as error:
            plan_for_cluster(
                model,
                TrainingSettings(),
                gpus(1, 40 * GIB, 20 * GIB),
                tmp_path / "plan.json",
                suggestions=True,
            )
        assert re.findall(r"--nodes (\d+)", str(error.value)) == ([] if fix is None else [str(fix)])
        assert "--hbm" in str(error.value)


def test_a_table_with_too_few_rows_for_more_ranks_leaves_the_other_fixes(tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate({"sharding": {"shop": {"types": ["row_wise"]}}})
    model = sized(rows={**ROWS, "shop": 5})
    cluster = Cluster(ranks_per_node=2, device="cpu", ddr=GIB)
    with pytest.raises(PlanError, match=r"nearest fixes, .*\n  - hosts with \dGiB for each rank") as error:
        plan_for_cluster(model, settings, cluster, tmp_path / "plan.json", suggestions=True)
    assert "--nodes" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 0}, "nodes is 0; it must be at least 1"),
        ({"ranks_per_node": 0}, "ranks per node is 0"),
        ({"hbm": 0}, "GPUs need a memory size"),
        ({"ddr": 0}, "the hosts need a memory size"),
    ],
)
def test_a_cluster_without_size_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ShardingError, match=message):
        replace(gpus(), **values)


@pytest.mark.parametrize("text", ["", "GiB", "80 gigs", "-1GiB", "0GB", "1e"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size above 0; write a number with a unit of B, KB"):
        parse_bytes(text)

"""The table of traits of sharding types."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import get_args

import pytest
from torchrec.distributed.types import ShardingPlan
from torchrec.distributed.types import ShardingType as TorchRecType

from interactrank.sharding.planner.rank_rules import RULES
from interactrank.sharding.types import TYPES, Ranks, ShardingType, Traits, replicated_tables, types_where


def test_types__a_row_for_every_type_of_torchrec_and_no_other() -> None:
    assert tuple(TYPES) == get_args(ShardingType)
    assert set(TYPES) == {of.value for of in TorchRecType}


def test_types__every_rule_about_ranks_is_there_and_used() -> None:
    assert set(RULES) == set(get_args(Ranks)) == {of.ranks for of in TYPES.values()}


@pytest.mark.parametrize("name", TYPES)
def test_types__the_traits_of_a_row_go_together(name: ShardingType) -> None:
    of = TYPES[name]
    assert set(of.sequence) <= set(of.pooled) <= {"cpu", "cuda"}
    assert not (of.replicated and (of.splits_columns or of.rows_over or of.sends_sums))
    assert of.sends_sums == (of.rows_over is not None)  # a bag's rows are on several ranks
    if of.rows_over == "job":
        assert of.ranks == "all"
    if of.rows_over == "node":
        assert of.ranks in ("one_node", "whole_nodes")
    if of.managed:
        assert of.rows_over == "job"
    if of.planned == "always":
        assert of.sequence == ("cpu", "cuda")  # a default for every table
    assert ("column" in name or "grid" in name) == of.splits_columns


def test_types_where__finds_rows_by_traits() -> None:
    assert types_where(replicated=True) == ["data_parallel"]
    assert types_where(sends_sums=True) == ["row_wise", "table_row_wise", "grid_shard"]
    assert types_where(planned="always") == ["table_wise", "row_wise"]
    assert types_where(planned="small") == types_where(replicated=True)


def test_leaves_ranks_empty__rows_are_rounded_up() -> None:
    """13 rows over 4 ranks: 4, 4, 4, 1; over 12: 2 rows each for 6 ranks and 1 for the seventh."""
    assert [TYPES["row_wise"].leaves_ranks_empty(13, ranks, 2) for ranks in (4, 12)] == [False, True]
    assert not TYPES["table_row_wise"].leaves_ranks_empty(13, 12, 4)
    assert not any(TYPES[t].leaves_ranks_empty(1, 64, 8) for t in types_where(rows_over=None))


def test_replicated_tables__are_named_by_collection_and_table() -> None:
    types = {"a": "data_parallel", "b": "row_wise"}
    plan = {"bags": {name: SimpleNamespace(sharding_type=t) for name, t in types.items()}}
    assert replicated_tables(ShardingPlan(plan)) == {"bags.a"}  # type: ignore[arg-type]


def test_traits__every_attribute_is_documented() -> None:
    documented = inspect.getdoc(Traits) or ""
    assert all(f"{name}:" in documented for name in Traits.__annotations__)

from __future__ import annotations

import re

import pytest

from interactrank.sharding.errors import ShardingError
from interactrank.sharding.planner.constraints import TableLoad, checked_sharding, table_constraints
from interactrank.training.settings import TrainingSettings
from tests.toy import ToyModel


def settings(**sharding: dict) -> TrainingSettings:
    return TrainingSettings.model_validate({"sharding": sharding})


def test_constraints_reach_the_planner() -> None:
    asked = settings(
        queries={"types": ["column_wise"], "column_width": 4},
        words={"kernels": ["fused_uvm_caching"], "cache_load_factor": 0.3},
    )
    found = table_constraints(
        ToyModel(),
        asked,
        device_type="cuda",
        ranks=2,
        ranks_per_node=2,
        kernels=["fused"],
        loads={"words": TableLoad((7,), (2.5,))},
        defaults={"words": ["table_row_wise"], "products": ["row_wise"]},
    )
    queries, words, products = (found[name] for name in ("queries", "words", "products"))
    assert (queries.sharding_types, queries.compute_kernels) == (["column_wise"], ["fused"])
    assert (queries.min_partition, queries.pooling_factors, queries.batch_sizes) == (4, [1.0], None)
    assert (words.sharding_types, words.compute_kernels) == (["table_row_wise"], ["fused_uvm_caching"])
    assert words.cache_params is not None
    assert (words.cache_params.load_factor, words.pooling_factors, words.batch_sizes) == (0.3, [2.5], [7])
    assert (products.sharding_types, products.cache_params) == (["row_wise"], None)


@pytest.mark.parametrize(
    ("device", "sharding", "message"),
    [
        (
            "cpu",
            {"words": {"kernels": ["fused_uvm"]}},
            "words.kernels: fused_uvm cannot run on cpu; allowed: fused",
        ),
        (
            "cpu",
            {"words": {"types": ["row_wise"], "kernels": ["dense"]}},
            "words.kernels: dense is the kernel of data_parallel alone (elsewhere its optimizer state "
            "would be lost in checkpoints); allowed: fused",
        ),
        (
            "cuda",
            {"words": {"types": ["data_parallel"], "kernels": ["fused_uvm"]}},
            "words.kernels: fused_uvm does not go with data_parallel; allowed: dense",
        ),
        (
            "cpu",
            {"words": {"types": ["column_wise"], "column_width": 12}},
            "words.column_width: 12 does not divide the 8 columns of the table",
        ),
        (
            "cuda",
            {"products": {"types": ["grid_shard"]}},
            "products.types: grid_shard does not work for a table of an EmbeddingCollection on cuda; "
            "allowed: table_wise, row_wise, column_wise, data_parallel",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_name(device: str, sharding: dict, message: str) -> None:
    with pytest.raises(ShardingError, match=re.escape(f"training.sharding.{message}")):
        checked_sharding(ToyModel(), settings(**sharding), device)


def test_every_mistake_is_listed() -> None:
    wrong = settings(word={"types": ["row_wise"]}, products={"types": ["data_parallel"]})
    with pytest.raises(ShardingError) as error:
        checked_sharding(ToyModel(), wrong, "cpu")
    assert str(error.value).splitlines() == [
        "training.sharding.word: the model has no such table; did you mean 'words'?",
        "training.sharding.products.types: data_parallel does not work for a table of an EmbeddingCollection "
        "on cpu; allowed: table_wise, row_wise, column_wise",
    ]


def test_no_rank_is_left_without_a_row() -> None:
    """13 rows over 4 ranks: 4, 4, 4, 1; over 12: 2 rows each for 6 ranks and 1 for the seventh."""
    types = {"types": ["row_wise", "table_wise"]}
    given = {"device_type": "cpu", "kernels": ["fused"]}
    for ranks, expected in ((4, ["row_wise", "table_wise"]), (12, ["table_wise"])):
        found = table_constraints(
            ToyModel(),
            settings(products=types),
            ranks=ranks,
            ranks_per_node=ranks,
            **given,  # type: ignore[arg-type]
        )
        assert found["products"].sharding_types == expected
    asked = settings(products={"types": ["row_wise"]})
    with pytest.raises(ShardingError, match=r"products\.types: row_wise of 13 rows leaves ranks without any"):
        table_constraints(ToyModel(), asked, ranks=12, ranks_per_node=12, **given)  # type: ignore[arg-type]

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest
import torch

from benchmarks import embedding
from benchmarks.embedding import PEERS, TABLES, TYPES, built, check, here, make, on_two_ranks
from interactrank.distributed.world import process_group


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    with process_group("cpu"):
        yield
    built.cache_clear()


def test_the_sharded_tables_compute_what_the_kernel_computes() -> None:
    check()


@pytest.mark.parametrize("kind", ["raw", *TYPES, "data_parallel", *PEERS])
def test_every_contestant_updates_its_tables(kind: str) -> None:
    rows = 100
    step = make(kind, rows, 4, 3)
    tables = built(kind, rows)
    module = tables[0] if isinstance(tables, tuple) else tables
    weights = module.split_embedding_weights() if kind == "raw" else list(module.parameters())
    before = [w.detach().clone() for w in weights]
    step()
    changed = [not torch.equal(a, b) for a, b in zip(before, weights, strict=True)]
    assert all(changed)
    assert sum(w.numel() for w in before) == TABLES * rows * embedding.DIM


def test_only_table_wise_on_one_rank_has_a_target() -> None:
    one, two = here(["raw", *TYPES], 100, 4, 3), on_two_ranks(None, ["raw", *TYPES], 100, 4, 3)  # type: ignore[arg-type]
    assert [c.name for c in one.contestants if c.target] == ["table_wise"]
    assert not any(c.target for c in two.contestants)
    assert {c.work for c in one.contestants} == {TABLES * 4 * 3}
    assert {c.work for c in two.contestants} == {2 * TABLES * 4 * 3}


def test_what_a_look_up_costs_is_fitted_to_all_sizes() -> None:
    rows = []
    for size, pooling in embedding.SIZES:
        lookups, bags = TABLES * size * pooling, TABLES * size
        took = 2.5 + lookups * 80e-6 + bags * 50e-6  # ms: 80 ns a look-up, 50 ns a bag
        row = {"tables": "1 rank", "contestant": "raw", "batch": size}
        rows.append(row | {"lookups_each": lookups, "cpu_time_p50_ms": took})
    rows.append({**rows[0], "tables": "few sizes"})
    (table,) = embedding.tables(argparse.Namespace(), {"results": rows})
    assert table["rows"] == [["1 rank", "raw", pytest.approx(80), pytest.approx(50), pytest.approx(2.5)]]
    assert embedding.tables(argparse.Namespace(), {"results": rows[-1:]}) == []

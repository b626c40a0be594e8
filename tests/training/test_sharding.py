"""Sharded on two ranks, a model must train exactly as unsharded on the batches of both."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from interactrank.training.distributed import current_world, process_group
from interactrank.training.plan import make_plan
from interactrank.training.plan_table import describe_plan, print_plan
from interactrank.training.settings import Schedule, TableOptimizer, TrainingSettings
from interactrank.training.trainer import train
from interactrank.training.weights import load_model
from tests.distributed import run_ranks
from tests.training.toy import DIM, ToyLoader, ToyModel

STEPS = 5


def settings_for(sharding: dict[str, str], **more: object) -> TrainingSettings:
    values = {
        "steps": STEPS,
        "epochs": 2,
        "log_every": 1,
        "sharding": {table: {"types": [kind]} for table, kind in sharding.items()},
        "schedule": {"shape": "linear", "warmup_steps": 2, "final": 0.5},
        "dense": {"lr": 0.01, "weight_decay": 0.1},
        "tables": {"lr": 0.1},
        "clip_norm": 0.5,
    }
    return TrainingSettings.model_validate(values | more)


class HalvesRowWiseAdagrad(torch.optim.Optimizer):
    """Row-wise Adagrad with an accumulator for each row of each block of columns."""

    def __init__(self, params: list[Tensor], *, columns: int) -> None:
        super().__init__(params, {"lr": 0.1})
        self.columns = columns

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                for start in range(0, p.shape[1], self.columns):
                    g = p.grad[:, start : start + self.columns]
                    total = self.state[p].get(start, torch.zeros(len(p), 1)) + (g**2).mean(1, keepdim=True)
                    self.state[p][start] = total
                    p[:, start : start + self.columns] -= group["lr"] * g / (total.sqrt() + 1e-8)


def reference(settings: TrainingSettings, world_size: int, columns: int = DIM) -> dict[str, Tensor]:
    """The unsharded model after the same steps, trained by plain torch on the mean of the ranks' losses."""
    model = ToyModel()
    tables = [p for name, p in model.named_parameters() if "embedding" in name]
    dense = [p for name, p in model.named_parameters() if "embedding" not in name]
    decayed = [p for p in dense if p.ndim == 2]
    vectors = [p for p in dense if p.ndim == 1]
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=0.01
    )
    kinds = {
        "row_wise_adagrad": lambda: HalvesRowWiseAdagrad(tables, columns=columns),
        "adagrad": lambda: torch.optim.Adagrad(tables, lr=0.1, eps=1e-8),
        "sgd": lambda: torch.optim.SGD(tables, lr=0.1),
    }
    table = kinds[settings.tables.name]()
    loaders = [ToyLoader(rank) for rank in range(world_size)]
    # Factors by hand: warm-up 1/2, 1; then from 1 to 0.5 over 3 steps.
    for step, factor in enumerate([0.5, 1.0, 5 / 6, 4 / 6, 0.5]):
        epoch, number = divmod(step, 4)
        for optimizer, lr in ((adam, 0.01), (table, 0.1)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.zero_grad()
        losses = [model(loader.batch(epoch, number))[0] for loader in loaders]
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(dense, 0.5)
        adam.step()
        table.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _train(settings: TrainingSettings, output: str) -> list[tuple[str, str]]:
    world = current_world()
    result = train(ToyModel(), ToyLoader(world.rank), settings, output)
    assert result.step == STEPS
    return [(table, of.sharding_type) for part in result.dmp.plan.plan.values() for table, of in part.items()]


def assert_equal_to_reference(
    output: Path, settings: TrainingSettings, world_size: int, columns: int = DIM
) -> None:
    model = ToyModel(seed=99)
    load_model(model, output / "model.safetensors")
    for name, expected in reference(settings, world_size, columns).items():
        torch.testing.assert_close(model.state_dict()[name], expected, atol=2e-6, rtol=1e-5, msg=name)


TW, RW, CW, DP = "table_wise", "row_wise", "column_wise", "data_parallel"


@pytest.mark.parametrize(
    ("sharding", "optimizer"),
    [
        ({"queries": TW, "words": TW, "products": TW}, "row_wise_adagrad"),
        ({"queries": RW, "words": RW, "products": RW}, "row_wise_adagrad"),
        ({"queries": CW, "words": CW, "products": CW}, "adagrad"),
        ({"queries": DP, "words": DP, "products": RW}, "row_wise_adagrad"),
        ({"queries": DP, "words": RW, "products": CW}, "sgd"),
        ({"queries": "table_row_wise", "words": "grid_shard", "products": TW}, "adagrad"),
    ],
)
def test_two_ranks_train_as_one_unsharded_model(
    tmp_path: Path, sharding: dict[str, str], optimizer: str
) -> None:
    settings = settings_for(sharding, tables={"name": optimizer, "lr": 0.1})
    for plan in run_ranks(2, _train, settings, str(tmp_path)):
        assert dict(plan) == sharding
    assert_equal_to_reference(tmp_path, settings, 2)


def test_column_wise_row_wise_adagrad_keeps_its_state_by_shard(tmp_path: Path) -> None:
    settings = settings_for({"queries": CW, "words": CW, "products": CW})
    run_ranks(2, _train, settings, str(tmp_path))
    assert_equal_to_reference(tmp_path, settings, 2, columns=4)


def test_the_default_plan_and_the_pipeline_train_as_one_unsharded_model(tmp_path: Path) -> None:
    settings = settings_for({}, pipeline="sparse_dist")
    for plan in run_ranks(2, _train, settings, str(tmp_path)):
        assert {kind for _, kind in plan} <= {TW, RW}
    assert_equal_to_reference(tmp_path, settings, 2)


def test_one_process_without_torchrun_trains_as_the_unsharded_model(tmp_path: Path) -> None:
    settings = settings_for({})
    with process_group("cpu"):
        _train(settings, str(tmp_path))
    assert_equal_to_reference(tmp_path, settings, 1)


def _plan(settings: TrainingSettings) -> list[tuple]:
    model = ToyModel()
    rows = describe_plan(model, make_plan(model, settings, current_world()), 2)
    return [(r.collection, r.table, r.rows, r.dim, r.sharding, r.ranks, r.bytes) for r in rows]


def test_the_plan_is_the_same_on_all_ranks_and_described_by_table() -> None:
    first, second = run_ranks(2, _plan, settings_for({"queries": DP, "words": CW, "products": RW}))
    assert first == second
    # float32: rows * dim * 4 bytes; the replicated table counts on both ranks.
    assert first == [
        ("ebc", "queries", 21, 8, DP, (0, 1), 21 * 8 * 4 * 2),
        ("ebc", "words", 16, 8, CW, (0, 1), 16 * 8 * 4),
        ("ec", "products", 13, 8, RW, (0, 1), 13 * 8 * 4),
    ]


def test_the_printed_plan_names_tables_and_sizes() -> None:
    text = io.StringIO()
    with process_group("cpu") as world:
        model = ToyModel()
        plan = make_plan(model, settings_for({"words": TW}), world)
        print_plan(describe_plan(model, plan, 1), Console(file=text, width=120))
    line = next(line for line in text.getvalue().splitlines() if "words" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "ebc",
        "words",
        "16 x 8",
        TW,
        "fused",
        "0",
        "512",
    ]


@pytest.mark.parametrize(
    ("sharding", "message"),
    [
        ({"query": RW}, "training.sharding.query: the model has no such table; did you mean 'queries'?"),
        (
            {"products": DP},
            "training.sharding.products.types: data_parallel does not work for a table of an "
            "EmbeddingCollection on cpu; allowed: table_wise, row_wise, column_wise",
        ),
    ],
)
def test_an_impossible_constraint_names_the_table_and_what_is_allowed(
    sharding: dict[str, str], message: str
) -> None:
    with process_group("cpu") as world, pytest.raises(ValueError, match=r"training\.sharding") as error:
        make_plan(ToyModel(), settings_for(sharding), world)
    assert str(error.value) == message


def _different_models() -> str:
    world = current_world()
    settings = TrainingSettings(tables=TableOptimizer(lr=0.1), schedule=Schedule())
    try:
        train(ToyModel(dim=8 + 4 * world.rank), ToyLoader(), settings, "unused")
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "no error"


def test_ranks_that_built_different_models_are_told_so() -> None:
    for message in run_ranks(2, _different_models):
        assert (
            "built another model than this rank; first difference: ebc.embedding_bags.queries.weight"
            in message
        )

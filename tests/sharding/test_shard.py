"""Sharded on two ranks, a model must train exactly as unsharded on the batches of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interactrank.checkpoint.weights import load_model
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.describe import describe_plan, format_plan
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.settings import TableOptimizer, TableSharding
from interactrank.training.settings import LearningRateSchedule, TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.toy import DIM, ToyLoader, ToyModel

STEPS = 5


def settings_for(sharding: dict[str, str], **more: object) -> TrainingSettings:
    values = {
        "steps": STEPS,
        "epochs": 2,
        "log_every": 1,
        "sharding": {table: {"types": [kind]} for table, kind in sharding.items()},
        "schedule": {"decay": "linear", "warmup_steps": 2, "min_lr_factor": 0.5},
        "dense_optimizer": {"lr": 0.01, "weight_decay": 0.1},
        "table_optimizer": {"lr": 0.1},
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


@dataclass
class Reference:
    """What training the unsharded model gives."""

    weights: dict[str, Tensor]
    losses: list[float]
    grad_norms: list[float]
    state: dict[str, Tensor]  # table -> momentum


def reference(settings: TrainingSettings, world_size: int, columns: int = DIM) -> Reference:
    """The unsharded model after the same steps, trained by plain torch on the mean of the ranks' losses."""
    model = ToyModel()
    tables = {name.split(".")[-2]: p for name, p in model.named_parameters() if "embedding" in name}
    dense = [p for name, p in model.named_parameters() if "embedding" not in name]
    decayed = [p for p in dense if p.ndim == 2]
    vectors = [p for p in dense if p.ndim == 1]
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=0.01
    )
    weights = list(tables.values())
    kinds = {
        "row_wise_adagrad": lambda: HalvesRowWiseAdagrad(weights, columns=columns),
        "adagrad": lambda: torch.optim.Adagrad(weights, lr=0.1, eps=1e-8),
        "sgd": lambda: torch.optim.SGD(weights, lr=0.1),
    }
    table = kinds[settings.table_optimizer.name]()
    loaders = [ToyLoader(rank) for rank in range(world_size)]
    means, norms = [], []
    # Factors by hand: warm-up 1/2, 1; then from 1 to 0.5 over 3 steps.
    for step, factor in enumerate([0.5, 1.0, 5 / 6, 4 / 6, 0.5]):
        epoch, number = divmod(step, 4)
        for optimizer, lr in ((adam, 0.01), (table, 0.1)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.zero_grad()
        losses = [model(loader.batch(epoch, number))[0] for loader in loaders]
        mean = torch.stack(losses).mean()
        mean.backward()
        means.append(float(mean.detach()))
        norms.append(float(torch.nn.utils.clip_grad_norm_(dense, 0.5)))
        adam.step()
        table.step()
    state = {}
    for name, weight in tables.items():
        of = table.state[weight]
        if settings.table_optimizer.name == "row_wise_adagrad":
            # One number for each row of each block of columns, blocks one after the other.
            state[name] = torch.cat([of[start][:, 0] for start in range(0, DIM, columns)])
        elif settings.table_optimizer.name == "adagrad":
            state[name] = of["sum"]
    weights_after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return Reference(weights_after, means, norms, state)


Part = tuple[tuple[int, ...], Tensor]  # offset and values


@dataclass
class Trained:
    """What a rank has after training."""

    sharding: dict[str, str]
    losses: list[float]
    grad_norms: list[float]
    state: dict[str, list[Part]]  # table -> this rank's parts of its momentum


def _train(settings: TrainingSettings, output: str, machines: int = 1) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        if machines > 1:  # as if each rank were on a machine of its own
            patch.setenv("LOCAL_WORLD_SIZE", "1")
        result = train(ToyModel(), ToyLoader(current_world().rank), settings, output)
    assert result.step == STEPS
    state: dict[str, list[Part]] = {}
    for of in result.dmp.fused_optimizer.state_dict()["state"].values():
        for name, value in of.items():
            parts = [(tuple(s.metadata.shard_offsets), s.tensor.clone()) for s in value.local_shards()]
            state[name.split(".")[0]] = parts
    return Trained(
        {table: of.sharding_type for part in result.dmp.plan.plan.values() for table, of in part.items()},
        [row["loss"] for row in result.metrics],
        [row["grad_norm"] for row in result.metrics],
        state,
    )


def assert_equal_to_reference(
    output: Path,
    ranks: list[Trained],
    settings: TrainingSettings,
    columns: int = DIM,
) -> None:
    """Values (losses), gradients (norm of the dense ones), and at the end weights and optimizer state."""
    model = ToyModel(seed=99)
    load_model(model, output / "model.safetensors")
    expected = reference(settings, len(ranks), columns)
    for name, weight in expected.weights.items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=2e-6, rtol=1e-5, msg=name)
    for trained in ranks:
        assert trained.losses == pytest.approx(expected.losses, rel=1e-5)
        assert trained.grad_norms == pytest.approx(expected.grad_norms, rel=1e-4)
    for name, state in expected.state.items():
        parts = [part for trained in ranks for part in trained.state.get(name, [])]
        if ranks[0].sharding[name] == "data_parallel":
            assert not parts  # in the replicated optimizer
            continue
        assert sum(values.numel() for _, values in parts) == state.numel(), name
        for offsets, values in parts:
            whole = state
            for axis, start in enumerate(offsets):
                whole = whole.narrow(axis, start, values.shape[axis])
            torch.testing.assert_close(values, whole, atol=1e-7, rtol=1e-4, msg=name)


TW, RW, CW, DP = "table_wise", "row_wise", "column_wise", "data_parallel"
TWRW, TWCW, GRID = "table_row_wise", "table_column_wise", "grid_shard"


@pytest.mark.parametrize(
    ("pooled", "sequence", "optimizer"),
    [
        (TW, TW, "row_wise_adagrad"),
        (TW, RW, "sgd"),
        (RW, RW, "row_wise_adagrad"),
        (CW, CW, "adagrad"),
        (TWCW, TW, "adagrad"),
        (TWRW, RW, "row_wise_adagrad"),
        (GRID, CW, "adagrad"),
        (DP, RW, "row_wise_adagrad"),
        (DP, CW, "adagrad"),
    ],
)
def test_every_sharding_type_trains_as_the_unsharded_model(
    tmp_path: Path, pooled: str, sequence: str, optimizer: str
) -> None:
    """Two ranks with batches of different sizes, one of them at times without any event."""
    sharding = {"queries": pooled, "words": pooled, "products": sequence}
    settings = settings_for(sharding, table_optimizer={"name": optimizer, "lr": 0.1})
    ranks = run_ranks(2, _train, settings, str(tmp_path))
    assert [trained.sharding for trained in ranks] == [sharding] * 2
    assert_equal_to_reference(tmp_path, ranks, settings)


def test_types_can_be_mixed(tmp_path: Path) -> None:
    sharding = {"queries": DP, "words": RW, "products": CW}
    settings = settings_for(sharding, table_optimizer={"name": "sgd", "lr": 0.1})
    ranks = run_ranks(2, _train, settings, str(tmp_path))
    assert_equal_to_reference(tmp_path, ranks, settings)


@pytest.mark.parametrize("pooled", [TWRW, TWCW, GRID])
def test_types_that_know_machines_work_on_two_of_them(tmp_path: Path, pooled: str) -> None:
    sharding = {"queries": pooled, "words": TW, "products": RW}
    settings = settings_for(sharding, table_optimizer={"name": "adagrad", "lr": 0.1})
    ranks = run_ranks(2, _train, settings, str(tmp_path), 2)
    assert [trained.sharding for trained in ranks] == [sharding] * 2
    assert_equal_to_reference(tmp_path, ranks, settings)


def test_checkpoints_of_default_types_load_into_each_other(tmp_path: Path) -> None:
    """Each resumes at the last step of the one before: weights and optimizer state stay those of 5 steps."""
    for machines, pooled, sequence in ((1, TWRW, TW), (1, TW, RW), (2, TWRW, RW), (1, RW, TW)):
        settings = settings_for({"queries": pooled, "words": pooled, "products": sequence})
        ranks = run_ranks(2, _train, settings, str(tmp_path), machines)
        assert ranks[0].sharding == {"queries": pooled, "words": pooled, "products": sequence}
        assert_equal_to_reference(tmp_path, ranks, settings)


def test_column_wise_row_wise_adagrad_keeps_its_state_by_shard(tmp_path: Path) -> None:
    settings = settings_for({"queries": CW, "words": CW, "products": CW})
    ranks = run_ranks(2, _train, settings, str(tmp_path))
    assert_equal_to_reference(tmp_path, ranks, settings, columns=4)


def test_the_width_of_columns_can_be_set(tmp_path: Path) -> None:
    """Width 8 of 8: one part, which then is as the whole table."""
    settings = settings_for({"queries": TW, "words": RW, "products": TW})
    settings = settings.model_copy(
        update={"sharding": {**settings.sharding, "queries": TableSharding(types=[CW], column_width=8)}}
    )
    ranks = run_ranks(2, _train, settings, str(tmp_path))
    assert_equal_to_reference(tmp_path, ranks, settings)


def test_the_default_plan_and_the_pipeline_train_as_one_unsharded_model(tmp_path: Path) -> None:
    settings = settings_for({}, pipeline="sparse_dist")
    ranks = run_ranks(2, _train, settings, str(tmp_path))
    for trained in ranks:  # tables of a few rows are on both ranks, but for sequences, which cannot be
        assert (trained.sharding["queries"], trained.sharding["words"]) == (DP, DP)
        assert trained.sharding["products"] in (TW, RW)
    assert_equal_to_reference(tmp_path, ranks, settings)


def test_one_process_without_torchrun_trains_as_the_unsharded_model(tmp_path: Path) -> None:
    settings = settings_for({})
    with process_group("cpu"):
        assert_equal_to_reference(tmp_path, [_train(settings, str(tmp_path))], settings)


def _plan(settings: TrainingSettings) -> list[tuple]:
    model = ToyModel()
    rows = describe_plan(model, make_plan(model, settings, current_world()), 2)
    return [(r.table, r.rows, r.dim, r.sharding, r.ranks, r.weight_bytes) for r in rows]


def test_the_plan_is_the_same_on_all_ranks_and_described_by_table() -> None:
    first, second = run_ranks(2, _plan, settings_for({"queries": DP, "words": CW, "products": RW}))
    assert first == second
    # float32: rows * dim * 4 bytes; the replicated table counts on both ranks.
    assert first == [
        ("ebc.queries", 21, 8, DP, (0, 1), 21 * 8 * 4 * 2),
        ("ebc.words", 16, 8, CW, (0, 1), 16 * 8 * 4),
        ("ec.products", 13, 8, RW, (0, 1), 13 * 8 * 4),
    ]


def test_format_plan__names_tables_and_sizes() -> None:
    with process_group("cpu") as world:
        model = ToyModel()
        plan = make_plan(model, settings_for({"words": TW}), world)
        text = format_plan(describe_plan(model, plan, 1))
    line = next(line for line in text.splitlines() if "words" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "ebc.words",
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


def _different_models(output: Path) -> str:
    world = current_world()
    settings = TrainingSettings(table_optimizer=TableOptimizer(lr=0.1), schedule=LearningRateSchedule())
    try:
        train(ToyModel(dim=8 + 4 * world.rank), ToyLoader(), settings, output)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "no error"


def test_ranks_that_built_different_models_are_told_so(tmp_path: Path) -> None:
    for message in run_ranks(2, _different_models, tmp_path):
        assert (
            "built another model than this rank; first difference: ebc.embedding_bags.queries.weight"
            in message
        )

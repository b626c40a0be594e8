from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interactrank.training.distributed import process_group
from interactrank.training.optimizers import (
    TrainingOptimizer,
    apply_table_optimizer,
    build_optimizer,
    check_table_optimizers,
    table_optimizer,
)
from interactrank.training.plan import make_plan
from interactrank.training.settings import Schedule, TableOptimizer, TrainingSettings
from interactrank.training.sharding import shard_model
from interactrank.training.tables import table_parameters
from interactrank.training.trainer import train
from tests.training.toy import ToyLoader, ToyModel, toy_batch


def sharded(settings: TrainingSettings, total: int) -> tuple[torch.nn.Module, TrainingOptimizer]:
    with process_group("cpu") as world:
        model = ToyModel()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        return dmp, build_optimizer(dmp, settings, total)


def rates(optimizer: TrainingOptimizer) -> tuple[set[float], set[float]]:
    """Learning rates of the fused tables and of the dense parameters."""
    keys = {id(p): name for name, p in optimizer.params.items()}
    found: tuple[set[float], set[float]] = (set(), set())
    for group in optimizer.param_groups:
        dense = keys[id(group["params"][0])].startswith("dense.")
        found[dense].add(round(float(group["lr"]), 6))
    return found


def test_one_schedule_reaches_tables_and_dense_parameters() -> None:
    settings = TrainingSettings.model_validate(
        {
            "dense": {"lr": 0.01, "weight_decay": 0.1},
            "tables": {"lr": 0.2},
            "schedule": {"shape": "linear", "warmup_steps": 2},
        }
    )
    _, optimizer = sharded(settings, total=4)
    found = []
    for step in range(1, 5):
        optimizer.start_step(step)
        found.append(rates(optimizer))
    # Factors 1/2, 1, 1/2, 0.
    assert found == [({0.1}, {0.005}), ({0.2}, {0.01}), ({0.1}, {0.005}), ({0.0}, {0.0})]


def test_at_factor_0_the_fused_kernels_leave_the_tables_alone() -> None:
    settings = TrainingSettings(schedule=Schedule(shape="linear"))
    with process_group("cpu") as world:
        model = ToyModel()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        optimizer = build_optimizer(dmp, settings, 2)
        states = []
        for step in (1, 2):  # factors 1/2 and 0
            optimizer.start_step(step)
            optimizer.zero_grad()
            dmp(toy_batch(step))[0].backward()
            optimizer.step()
            states.append([p.detach().clone() for p in dmp.parameters()])
    for before, after in zip(*states, strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(states[0][0], next(iter(ToyModel().parameters())))


def test_building_the_optimizer_moves_no_weight_and_counts_no_step() -> None:
    dmp, optimizer = sharded(TrainingSettings.model_validate({"dense": {"weight_decay": 0.5}}), total=2)
    expected = ToyModel().state_dict()
    for name, parameter in dmp.named_parameters():
        assert torch.equal(parameter.detach(), expected[name]), name
        assert parameter.grad is None
    steps = [
        state["step"] for key, state in optimizer.state_dict()["state"].items() if key.startswith("dense.")
    ]
    assert len(steps) == 6
    assert all(int(step) == 0 for step in steps)


def test_an_optimizer_that_cpu_kernels_lack_is_refused_with_those_they_have() -> None:
    with pytest.raises(
        ValueError, match=r"adam cannot run .* on cpu; allowed there: row_wise_adagrad, adagrad, sgd"
    ):
        table_optimizer(TableOptimizer(name="adam"), "cpu")
    kind, arguments = table_optimizer(TableOptimizer(name="adam", lr=0.1), "cuda")
    assert kind is torch.optim.Adam
    assert arguments == {"lr": 0.1, "eps": 1e-8, "betas": (0.9, 0.999)}


def test_a_table_without_an_optimizer_or_with_two_is_refused_by_name() -> None:
    tables = table_parameters(ToyModel())
    assert list(tables) == ["ebc.queries", "ebc.words", "ec.products"]
    some = {name: weight for name, weight in tables.items() if name != "ebc.words"}
    apply_table_optimizer(some, TableOptimizer(), "cpu", replicated=())
    with pytest.raises(
        ValueError, match=r"tables ebc\.words \(0 optimizers\): every table needs exactly one"
    ):
        check_table_optimizers(tables, replicated=())
    check_table_optimizers(tables, replicated=["ebc.words"])
    apply_table_optimizer({"ec.products": tables["ec.products"]}, TableOptimizer(), "cpu", replicated=())
    with pytest.raises(ValueError, match=r"ec\.products \(2 optimizers\)"):
        check_table_optimizers(tables, replicated=["ebc.words"])


class Unused(ToyModel):
    def __init__(self) -> None:
        super().__init__()
        self.spare = torch.nn.Linear(2, 2)


def test_a_parameter_without_a_gradient_is_named(tmp_path: Path) -> None:
    with process_group("cpu"):
        with pytest.raises(
            ValueError, match=r"without a gradient: spare\.weight, spare\.bias\. Take them out"
        ):
            train(Unused(), ToyLoader(), TrainingSettings(steps=2), tmp_path / "a")
        settings = TrainingSettings(steps=2, unused_parameters=True, clip_norm=0.1)
        assert train(Unused(), ToyLoader(), settings, tmp_path / "b").step == 2

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import SplitTableBatchedEmbeddingBagsCodegen
from torch import nn
from torchrec.distributed.utils import merge_fused_params, optimizer_type_to_emb_opt_type

from interactrank.distributed.world import process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.settings import TableOptimizer
from interactrank.sharding.shard import shard_model
from interactrank.sharding.table_optimizer import (
    apply_table_optimizer,
    check_table_optimizers,
    state_bytes,
    table_optimizer,
)
from interactrank.sharding.tables import table_parameters, tables_of
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.settings import LearningRateSchedule, TrainingSettings
from interactrank.training.trainer import train
from tests.toy import ToyLoader, ToyModel, toy_batch


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
            "dense_optimizer": {"lr": 0.01, "weight_decay": 0.1},
            "table_optimizer": {"lr": 0.2},
            "schedule": {"decay": "linear", "warmup_steps": 2},
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
    settings = TrainingSettings(schedule=LearningRateSchedule(decay="linear"))
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
    dmp, optimizer = sharded(
        TrainingSettings.model_validate({"dense_optimizer": {"weight_decay": 0.5}}), total=2
    )
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


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (TableOptimizer(name="sgd", lr=0.1), {}),
        (TableOptimizer(name="adagrad", lr=0.1, eps=1e-6), {"eps": 1e-6}),
        (TableOptimizer(name="row_wise_adagrad", lr=0.1), {"eps": 1e-8}),
        (TableOptimizer(name="adam", lr=0.1), {"eps": 1e-8, "beta1": 0.9, "beta2": 0.999}),
        (TableOptimizer(name="adam", lr=0.1, betas=(0.8, 0.9)), {"eps": 1e-8, "beta1": 0.8, "beta2": 0.9}),
    ],
)
def test_a_gpus_kernels_get_arguments_that_they_take(settings: TableOptimizer, state: dict[str, Any]) -> None:
    weight: Any = nn.Parameter(torch.zeros(4, 4))
    apply_table_optimizer({"a": weight}, settings, "cuda", replicated=())
    (kind,), (arguments,) = weight._optimizer_classes, weight._optimizer_kwargs
    assert optimizer_type_to_emb_opt_type(kind) is not None
    # As TorchRec hands them on: it renames the rate, and nothing else.
    handed = merge_fused_params({}, dict(arguments))
    assert handed == {"learning_rate": 0.1, **state}
    assert handed.keys() <= inspect.signature(SplitTableBatchedEmbeddingBagsCodegen).parameters.keys()


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


def test_replicated_tables_have_the_optimizer_of_tables_not_adam() -> None:
    """TorchRec leaves them to whatever takes the other parameters; decay and clipping must not reach them."""
    settings = TrainingSettings.model_validate(
        {
            "sharding": {"words": {"types": ["data_parallel"]}},
            "dense_optimizer": {"lr": 0.01, "weight_decay": 0.1},
            "table_optimizer": {"lr": 0.2},
            "clip_norm": 1e-6,
        }
    )
    with process_group("cpu") as world:
        model = ToyModel()
        before = model.ebc.embedding_bags["words"].weight.detach().clone()
        dmp = shard_model(model, make_plan(model, settings, world), settings, world)
        optimizer = build_optimizer(dmp, settings, 2)
        keys = [key for key in optimizer.params if "words" in key]
        assert keys == ["replicated.ebc.embedding_bags.words.weight"]
        (group,) = [g for g in optimizer.param_groups if g["params"][0] is optimizer.params[keys[0]]]
        assert (group["lr"], group["weight_decay"]) == (0.2, 0)
        assert not any("words" in name for name in optimizer.dense)
        optimizer.start_step(1)
        optimizer.zero_grad()
        dmp(toy_batch(1))[0].backward()
        (weight,) = [p for name, p in dmp.named_parameters() if "words" in name]
        gradient = weight.grad.clone()
        optimizer.step()
    # Row-wise Adagrad's first step: lr * g / (sqrt(mean of g^2) + eps), unclipped and undecayed.
    expected = before - 0.2 * gradient / ((gradient**2).mean(1, keepdim=True).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected)


def test_only_matrices_decay() -> None:
    _, optimizer = sharded(
        TrainingSettings.model_validate({"dense_optimizer": {"weight_decay": 0.1}}), total=2
    )
    names = {id(p): name.removeprefix("dense.") for name, p in optimizer.params.items()}
    groups = optimizer.param_groups
    decays = {names[id(p)]: g.get("weight_decay", 0) for g in groups for p in g["params"]}
    decayed = {name for name, decay in decays.items() if decay and name.startswith("rest.")}
    assert decayed == {"rest.tower.weight", "rest.head.weight"}
    assert {name for name in decays if name.startswith("rest.")} - decayed == {
        "rest.tower.bias",
        "rest.norm.weight",
        "rest.norm.bias",
        "rest.head.bias",
    }


def test_state_bytes_of_a_table() -> None:
    words = tables_of(ToyModel())[1]  # 16 x 8
    sizes = {
        name: state_bytes(words, TableOptimizer(name=name))
        for name in ("sgd", "row_wise_adagrad", "adagrad", "adam")
    }
    assert sizes == {"sgd": 0, "row_wise_adagrad": 64, "adagrad": 512, "adam": 1024}
    assert state_bytes(words, TableOptimizer(), column_parts=2) == 128

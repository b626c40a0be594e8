from itertools import islice
from pathlib import Path

import pytest
import torch

from interactrank.batch import SearchBatch
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import build_optimizer
from interactrank.training.pipeline import OverlappedPipeline, PlainPipeline, make_pipeline
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.toy import ToyLoader, ToyModel


class Branching(ToyModel):
    """Looks at a value in its forward, which tracing cannot follow."""

    def forward(self, batch: SearchBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if batch.num_requests > 0:
            return super().forward(batch)
        raise ValueError("an empty batch")


def test_a_model_that_cannot_be_traced_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with process_group("cpu"):
        with pytest.raises(ValueError, match=r"cannot trace the model's forward \((.|\n)*pipeline to plain"):
            train(Branching(), ToyLoader(), TrainingSettings(steps=2, pipeline="sparse_dist"), tmp_path / "a")
        assert train(Branching(), ToyLoader(), TrainingSettings(steps=2), tmp_path / "b").step == 2


def _pipeline(kind: str, model: ToyModel | None = None) -> PlainPipeline | OverlappedPipeline:
    """Return the pipeline of a sharded toy."""
    settings, world = TrainingSettings.model_validate({"pipeline": kind}), current_world()
    model = model or ToyModel()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    optimizer = build_optimizer(dmp, settings, 8)
    optimizer.start_step(1)
    dmp.train()
    pipeline = make_pipeline(dmp, optimizer, settings)
    assert isinstance(pipeline, PlainPipeline | OverlappedPipeline)
    return pipeline


def _in_parts(kind: str) -> list[tuple[int, float]]:
    """(prefetched batches, loss) of 8 steps in parts of 1, 5 and 2, with an evaluation behind each part."""
    pipeline = _pipeline(kind)
    loader, found = ToyLoader(current_world().rank, steps_per_epoch=8), []
    batches = loader.epoch(0)
    for size in (1, 5, 2):
        part = islice(batches, size)
        for _ in range(size):
            result = pipeline.progress(part)
            found.append((pipeline.prefetched, float(result.loss)))
        pipeline.detach()
        with torch.no_grad():
            pipeline.forward.model(loader.batch(7, 0))  # of another size on each rank
        pipeline.attach()
    with pytest.raises(StopIteration):
        pipeline.progress(batches)
    return found


def test_the_overlapped_pipeline_loses_no_batch_and_ends_every_part() -> None:
    expected = run_ranks(2, _in_parts, "plain")
    assert {prefetched for prefetched, _ in expected[0]} == {0}
    for found, plain in zip(run_ranks(2, _in_parts, "sparse_dist"), expected, strict=True):
        assert [prefetched for prefetched, _ in found] == [0, *(2, 2, 2, 1, 0), *(1, 0)]
        losses = [loss for _, loss in plain]
        assert [loss for _, loss in found] == pytest.approx(losses, rel=1e-6)


def _early_pause() -> str:
    pipeline = _pipeline("sparse_dist")
    pipeline.progress(ToyLoader(current_world().rank).epoch(0))
    with pytest.raises(RuntimeError) as error:
        pipeline.detach()
    return str(error.value)


def test_pipeline__is_not_detached_while_it_has_prefetched_batches() -> None:
    for message in run_ranks(2, _early_pause):
        assert message.startswith("the pipeline has prefetched 2 batches; train on them before you call")


def _kind() -> str:
    return type(_pipeline("auto")).__name__


def test_ranks_that_exchange_something_overlap_it() -> None:
    assert run_ranks(1, _kind) == ["PlainPipeline"]
    assert run_ranks(2, _kind) == ["OverlappedPipeline"] * 2


def test_caches_are_not_filled_ahead_on_a_cpu(tmp_path: Path) -> None:
    with process_group("cpu"), pytest.raises(ValueError, match=r"prefetch fills .* on CPU; use sparse_dist"):
        train(ToyModel(), ToyLoader(), TrainingSettings(steps=2, pipeline="prefetch"), tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_caches_filled_ahead_change_nothing(tmp_path: Path) -> None:
    """Half of a table's rows in its cache; with evaluations and checkpoints between the steps."""
    cached = {"kernels": ["fused_uvm_caching"], "cache_load_factor": 0.5}
    losses = {}
    for kind in ("plain", "sparse_dist", "prefetch"):
        settings = TrainingSettings.model_validate(
            {
                "epochs": 2,
                "log_every": 1,
                "validate_every": 3,
                "checkpoint_every": 2,
                "device": "cuda",
                "pipeline": kind,
                "sharding": {"queries": cached, "words": cached},
            }
        )
        with process_group("cuda"):
            result = train(
                ToyModel(), ToyLoader(), settings, tmp_path / kind, validate=lambda model, step: {}
            )
            losses[kind] = [row["loss"] for row in result.metrics]
    assert losses["sparse_dist"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["prefetch"] == pytest.approx(losses["plain"], rel=1e-5)


def test_bf16_computes_in_bfloat16_and_keeps_the_weights_in_float32(tmp_path: Path) -> None:
    seen = []
    model = ToyModel()
    model.rest.tower.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    with process_group("cpu"):
        dmp = train(model, ToyLoader(), TrainingSettings(steps=2, autocast="bf16"), tmp_path).dmp
        assert {p.dtype for p in dmp.parameters()} == {torch.float32}
    assert seen == [torch.bfloat16] * 2


@pytest.mark.parametrize(("has_bf16", "warnings"), [(False, 1), (True, 0)])
def test_bf16_on_a_cpu_without_it_is_warned_of(
    has_bf16: bool, warnings: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has_bf16})
    with process_group("cpu"):
        for bf16 in (False, True):
            settings = TrainingSettings(autocast="bf16" if bf16 else "none")
            model, world = ToyModel(), current_world()
            dmp = shard_model(model, make_plan(model, settings, world), settings, world)
            make_pipeline(dmp, build_optimizer(dmp, settings, 1), settings)
    assert caplog.text.count("this CPU has no bf16 instructions") == warnings

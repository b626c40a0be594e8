from pathlib import Path

import pytest
import torch

from interactrank.batch import SearchBatch
from interactrank.training.distributed import process_group
from interactrank.training.pipeline import Forward
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.training.toy import ToyLoader, ToyModel


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
    has_bf16: bool, warnings: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has_bf16})
    with process_group("cpu"):
        for bf16 in (False, True):
            Forward(ToyModel(), torch.device("cpu"), bf16=bf16)
    assert capsys.readouterr().err.count("this CPU has no bf16 instructions") == warnings

from __future__ import annotations

from typing import Any

import pytest
import torch

from interactrank.core import extras
from interactrank.core.errors import TrainingError
from interactrank.core.extras import MissingExtraError
from interactrank.training import TrainingSettings, check_settings


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(values)


def test_check_settings__names_all_that_cannot_run_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError) as error:
        check_settings(
            settings(
                table_optimizer={"name": "adam"},
                pipeline="prefetch",
                sharding={"words": {"kernels": ["fused_uvm_caching", "fused_uvm"]}},
            ),
            "cpu",
        )
    adam, prefetch, kernels = str(error.value).splitlines()
    assert "adam cannot run inside the backward pass on cpu" in adam
    assert prefetch.startswith("training.pipeline: prefetch fills the caches that tables have on a GPU")
    assert kernels == (
        "training.sharding.words.kernels: fused_uvm_caching, fused_uvm cannot run on cpu; allowed: fused"
    )


def test_check_settings__a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"training\.device: this machine shows no GPU to torch"):
        check_settings(settings(device="cuda"))
    check_settings(settings(device="auto"))


def test_check_settings__tensorboard_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = extras.importlib.import_module

    def missing(name: str, *arguments: Any) -> Any:
        if name == "tensorboard":
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match="tensorboard"):
        check_settings(settings(tensorboard=True), "cpu")
    with pytest.raises(TrainingError, match=r"prefetch fills(.|\n)*training\.tensorboard: "):
        check_settings(settings(tensorboard=True, pipeline="prefetch"), "cpu")

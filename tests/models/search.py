"""A small prepared log with every kind of feature, and models on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from interactrank.batch import SearchBatch
from interactrank.core.settings import parse_config
from interactrank.data.loading.collate import collate
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings
from interactrank.models import InteractRank, ModelSettings, build_model
from tests.data import logs

SMALL: dict[str, Any] = {
    "dim": 8,
    "request_tower": {"blocks": 2, "block_dim": 8, "hidden_dims": [8], "residual": True},
    "item_tower": {"blocks": 2, "block_dim": 8, "hidden_dims": [8]},
    "loss": {"pointwise_weight": 1.0, "listwise_weight": 1.0, "sampled_softmax_weight": 0.1},
}


def prepared(
    folder: Path, *overrides: str, requests: int = 65, without: tuple[str, ...] = ("events.split",)
) -> PreparedDataset:
    """A random log with impressions and every kind of feature; the last requests validate and test."""
    schema = logs.schema(*overrides, without=without)
    split = {"split": {"test_share": 0.2}}
    return logs.prepared(folder, *logs.random_log(3, requests=requests), schema=schema, settings=split)


def model(log: PreparedDataset, seed: int = 0, name: str = "interactrank", **changes: Any) -> InteractRank:
    """A model in evaluation mode whose every weight is away from its first value."""
    torch.manual_seed(seed)
    settings = parse_config(ModelSettings, {**SMALL, **changes})
    built = build_model(name, layout=log.layout, settings=settings)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return built.eval()


def requests(log: PreparedDataset, split: str = "train", rows: int = 1000) -> PreparedRequests:
    """The first requests of a split, in one piece."""
    loader = SearchLoader(log, split, LoaderSettings(batch_requests=rows, prefetch=0), shuffle=False)
    return next(loader.requests())


def batch(log: PreparedDataset, rows: int = 8) -> SearchBatch:
    """The first training requests with their logged candidates."""
    chosen = requests(log, rows=rows)
    return collate(chosen, chosen.candidates(), log.items)


class RowCounter:
    """Rows of the first output (or its values) of each call of some modules.

    Example::

        with RowCounter(model.query_tower) as rows: ...
    """

    def __init__(self, *modules: nn.Module | None) -> None:
        self.modules = [m for m in modules if m is not None]
        self.rows: list[int] = []

    def __enter__(self) -> list[int]:
        def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            self.rows.append(output.shape[0])

        self.handles = [m.register_forward_hook(count) for m in self.modules]
        return self.rows

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()

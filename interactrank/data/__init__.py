"""Data: raw search logs, the datasets that ``prepare`` makes of them, and batches; made-up logs, too.

``raw`` reads a log, ``prepare`` makes a dataset of it, ``prepared`` is the format of a dataset, ``loading``
makes batches of it, ``simulator`` makes up logs. The public names below are imported when they are first
used, as they load PyTorch, and need the extra ``data`` when they are called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interactrank.data.errors import DatasetError
    from interactrank.data.loading.id_checks import IdRangeError
    from interactrank.data.loading.loader import SearchLoader
    from interactrank.data.loading.prepared_requests import PreparedRequests
    from interactrank.data.prepare.prepare import prepare_log
    from interactrank.data.prepared.dataset import PreparedDataset
    from interactrank.data.prepared.items import ItemTable
    from interactrank.data.prepared.vocabulary import Vocabulary
    from interactrank.data.settings import LoaderSettings, PrepareSettings, SplitSettings
    from interactrank.data.simulator.settings import SimulationSettings
    from interactrank.data.simulator.write import simulate

__all__ = [
    "DatasetError",
    "IdRangeError",
    "ItemTable",
    "LoaderSettings",
    "PrepareSettings",
    "PreparedDataset",
    "PreparedRequests",
    "SearchLoader",
    "SimulationSettings",
    "SplitSettings",
    "Vocabulary",
    "prepare_log",
    "simulate",
]

_HOMES = {
    "DatasetError": "errors",
    "IdRangeError": "loading.id_checks",
    "ItemTable": "prepared.items",
    "LoaderSettings": "settings",
    "PrepareSettings": "settings",
    "PreparedDataset": "prepared.dataset",
    "PreparedRequests": "loading.prepared_requests",
    "SearchLoader": "loading.loader",
    "SimulationSettings": "simulator.settings",
    "SplitSettings": "settings",
    "Vocabulary": "prepared.vocabulary",
    "prepare_log": "prepare.prepare",
    "simulate": "simulator.write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

"""Where a model's ID tables are made: whole on every rank, or only the parts that a rank will hold."""

from __future__ import annotations

import torch

from interactrank.batch import BatchLayout
from interactrank.modules.managed import STATE_BYTES
from interactrank.training.distributed import World, say
from interactrank.training.planning.cluster import show_bytes
from interactrank.training.planning.plan import cluster_of
from interactrank.training.settings import TrainingSettings

__all__ = ["table_bytes", "table_device"]

SHARE = 0.25  # of a rank's memory, beyond which tables are not made whole


def table_bytes(layout: BatchLayout) -> int:
    """What a model's tables take where they are made whole: float32 weights, and the ids of managed tables.

    Args:
        layout: which tables there are, and their rows.
    """
    tables = layout.schema.tables
    return sum(
        rows * (4 * tables[name].dim + (STATE_BYTES if tables[name].ids == "managed" else 0))
        for name, rows in layout.table_rows.items()
    )


def table_device(settings: TrainingSettings, size: int, world: World) -> torch.device | None:
    """The device to build the tables on: ``meta`` if each rank is to make its own parts, None for the host.

    Args:
        settings: ``first_weights`` is read.
        size: bytes of all tables, as :func:`table_bytes` counts them.
        world: the ranks.
    """
    how = settings.first_weights
    if how == "auto":
        how = "parts" if size > SHARE * cluster_of(world).ddr else "whole"
        if how == "parts":
            say(
                f"tables of {show_bytes(size)}: each rank makes its own parts, so that the first "
                "weights depend on the number of ranks and the plan (training.first_weights)"
            )
    return torch.device("meta") if how == "parts" else None

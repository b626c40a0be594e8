"""Where a model's ID tables are made: whole on every rank, or only the parts that a rank will hold."""

from __future__ import annotations

import logging

import torch

from interactrank.distributed.world import World
from interactrank.sharding.planner.cluster import show_bytes
from interactrank.sharding.planner.plan import cluster_of
from interactrank.sharding.settings import ShardingSettings

__all__ = ["table_device"]

logger = logging.getLogger(__name__)

SHARE = 0.25  # of a rank's memory, beyond which tables are not made whole


def table_device(settings: ShardingSettings, size: int, world: World) -> torch.device | None:
    """The device to build the tables on: ``meta`` if each rank is to make its own parts, None for the host.

    Args:
        settings: ``table_init`` is read.
        size: bytes of all tables, as :func:`table_bytes` counts them.
        world: the ranks.
    """
    how = settings.table_init
    if how == "auto":
        how = "sharded" if size > SHARE * cluster_of(world).ddr else "replicated"
        if how == "sharded":
            logger.info(
                f"tables of {show_bytes(size)}: each rank initializes its own shards, so that the first "
                "weights depend on the number of ranks and the plan (training.table_init)"
            )
    return torch.device("meta") if how == "sharded" else None

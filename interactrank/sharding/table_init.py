"""Where embedding tables are initialized: in full on every rank, or only the shards of a rank."""

from __future__ import annotations

import logging

import torch

from interactrank.distributed.world import World
from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.planner.cluster import cluster_of
from interactrank.sharding.settings import ShardingSettings

__all__ = ["table_device"]

logger = logging.getLogger(__name__)

SHARE = 0.25  # of a rank's memory; larger tables are initialized by shards


def table_device(settings: ShardingSettings, size: int, world: World) -> torch.device | None:
    """Return the device to build tables on: ``meta`` if each rank initializes its shards, else None.

    Args:
        settings: ``table_init`` is read.
        size: bytes of all tables.
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

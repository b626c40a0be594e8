"""Whether the tables of a plan file fit into the ranks' memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torchrec.distributed.planner.types import ShardingOption

from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.estimators import GRADIENTS, held_bytes
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.tables import TableInfo
from interactrank.sharding.types import TYPES

__all__ = ["memory_problems"]


def memory_problems(
    options: Sequence[ShardingOption],
    tables: Mapping[str, TableInfo],
    settings: ShardingSettings,
    cluster: Cluster,
    dense_bytes: int = 0,
) -> list[str]:
    """Return what does not fit of a plan, with sizes: weights, optimizer state and gradients of copies.

    Ids and vectors of a batch are not counted, as a plan file does not know the batch.

    Args:
        options: the tables with their ranks.
        tables: ``collection.table`` -> the table.
        settings: the tables' optimizer, and whether hosts hold a copy for checkpoints.
        cluster: the ranks.
        dense_bytes: what the dense parameters take on each rank.
    """
    usable = dict(zip(("hbm", "ddr"), cluster.usable(dense_bytes, settings.copies_tables), strict=True))
    held = {name: np.zeros(cluster.ranks, np.int64) for name in usable}
    largest: dict[str, tuple[int, str]] = dict.fromkeys(usable, (0, ""))
    for option in options:
        place = "ddr" if "uvm" in option.compute_kernel else cluster.memory
        for shard in option.shards:
            part = replace(tables[option.fqn], rows=shard.size[0], dim=shard.size[1])
            own = held_bytes(part, settings.table_optimizer)
            copy = own if settings.copies_tables else 0
            own += GRADIENTS * part.bytes if TYPES[option.sharding_type].replicated else 0
            held[place][shard.rank] += own
            held["ddr"][shard.rank] += copy
            largest[place] = max(largest[place], (own, f"{option.fqn} ({option.sharding_type})"))
    found = []
    for name, sizes in held.items():
        rank = int(sizes.argmax())
        if sizes[rank] > usable[name]:
            size, table = largest[name]
            found.append(
                f"rank {rank} would hold {show_bytes(int(sizes[rank]))} of tables, their optimizer state and "
                f"gradients of copies in {name.upper()}, and has {show_bytes(usable[name])} for them; most "
                f"of all {table}: {show_bytes(size)} on a rank. Spread it over ranks, such as row_wise"
            )
    return found

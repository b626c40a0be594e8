"""What to change if tables do not fit: fixes of one kind each, every one tried with the planner."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.errors import ShardingError
from interactrank.sharding.planner.cluster import Cluster
from interactrank.sharding.planner.constraints import TableLoad, can_share
from interactrank.sharding.planner.estimators import held_bytes
from interactrank.sharding.planner.plan import place
from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.tables import tables_of

__all__ = ["sizes_of", "smallest_feasible", "suggest"]

TRIED_RANKS = 4096
GIB = 2**30
MOST_GIB = 4096  # largest memory of a rank that is tried


def smallest_feasible(
    numbers: Sequence[int], fits: Callable[[int], bool], tolerance: float = 0.0
) -> int | None:
    """Return the smallest of some numbers that fits; None if none does.

    Args:
        numbers: numbers in ascending order; the first does not fit.
        fits: whether a number fits; larger numbers then fit as well.
        tolerance: stop when the answer is known to this share of it.

    Example::

        >>> smallest_feasible(range(8, 1001), lambda n: n >= 21)
        21
        >>> smallest_feasible([8, 16, 64], lambda n: n >= 21)
        64
        >>> smallest_feasible(range(8, 21), lambda n: n >= 21) is None
        True
    """
    low, high, last = 0, 0, len(numbers) - 1
    while high == 0 or not fits(numbers[high]):
        if high == last:
            return None
        low, high = high, min(last, max(high + 1, bisect_left(numbers, 2 * numbers[high])))
    while high - low > 1 and numbers[high] - numbers[low] > tolerance * numbers[high]:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(numbers[middle]) else (middle, high)
    return numbers[high]


def sizes_of(model: nn.Module, settings: ShardingSettings, cluster: Cluster, dense_bytes: int) -> list[str]:
    """Return what the tables need and what the ranks have, and sizes that were given without a unit.

    Args:
        model: the unsharded model.
        settings: settings that :func:`~interactrank.sharding.planner.plan.place` was called with.
        cluster: cluster that it was called with.
        dense_bytes: what the dense parameters take on each rank.
    """
    return [*_sizes(model, settings, cluster, dense_bytes), *_forgotten_units(cluster)]


def suggest(
    model: nn.Module,
    settings: ShardingSettings,
    cluster: Cluster,
    loads: Mapping[str, TableLoad],
    dense_bytes: int,
) -> list[str]:
    """Return the nearest fix of each kind that makes a plan possible, in words; each was tried.

    It plans dozens of times: a minute for tens of tables on hundreds of ranks.

    Args:
        model: the unsharded model.
        settings: settings that :func:`~interactrank.sharding.planner.plan.place` was called with.
        cluster: cluster that it was called with.
        loads: loads that it was called with.
        dense_bytes: what the dense parameters take on each rank.
    """

    def fits(other: Cluster, how: ShardingSettings = settings) -> bool:
        try:
            place(model, how, other, loads=loads, dense_bytes=dense_bytes)
        except ShardingError:  # no plan, or other ranks cannot share a table
            return False
        return True

    fixes = []
    if settings.sharding and fits(cluster, settings.model_copy(update={"sharding": {}})):
        fixes.append(f"no constraint on {', '.join(settings.sharding)} (training.sharding)")
    nodes = smallest_feasible(_nodes(model, settings, cluster), lambda n: fits(cluster.with_nodes(n)))
    if nodes is not None:
        fixes.append(f"{nodes} nodes of this kind (--nodes {nodes})")
    if cluster.device == "cuda":
        hbm = _memory(cluster.hbm, lambda size: fits(replace(cluster, hbm=size)))
        if hbm is not None:
            fixes.append(f"GPUs of {hbm} (--hbm {hbm})")
    ddr = _memory(cluster.ddr, lambda size: fits(replace(cluster, ddr=size)))
    if ddr is not None:
        fixes.append(f"hosts with {ddr} for each rank (--ddr {ddr})")
    return _listed(fixes)


def _nodes(model: nn.Module, settings: ShardingSettings, cluster: Cluster) -> list[int]:
    """Return the number of nodes, and larger ones whose ranks can share every table."""
    per_node = cluster.ranks_per_node
    asked = {name: of.types or [] for name, of in settings.sharding.items()}
    tables = [(table, asked.get(table.name, [])) for table in tables_of(model)]
    more = [
        nodes
        for nodes in range(cluster.nodes + 1, TRIED_RANKS // per_node + 1)
        if all(can_share(t, types, cluster.device, nodes * per_node, per_node) for t, types in tables)
    ]
    return [cluster.nodes, *more]


def _memory(now: int, fits: Callable[[int], bool]) -> str | None:
    """Return the smallest memory that fits, to a twentieth."""
    enough = smallest_feasible(range(now // GIB, MOST_GIB + 1), lambda gib: fits(gib * GIB), tolerance=0.05)
    return None if enough is None else f"{enough}GiB"


def _sizes(model: nn.Module, settings: ShardingSettings, cluster: Cluster, dense_bytes: int) -> list[str]:
    """Return what is needed, what there is, and how much smaller the tables would have to be."""
    tables = tables_of(model)
    copied = settings.copies_tables
    sizes = {t.path: held_bytes(t, settings.table_optimizer) * (2 if copied else 1) for t in tables}
    also = [
        "optimizer state",
        *(["managed ids"] if any(t.managed_bytes for t in tables) else []),
        *(["their copy for checkpoints (training.checkpoint_async)"] if copied else []),
    ]
    need = sum(sizes.values())
    hbm, ddr = (size * cluster.ranks for size in cluster.usable(dense_bytes, copied))
    have = show_bytes(ddr)
    if cluster.device == "cuda":
        have = f"{show_bytes(hbm)} of HBM and {have} of DDR"
    largest = max(tables, key=lambda t: sizes[t.path])
    lines = [
        f"the tables take {show_bytes(need)} with {' and '.join(also)}, {largest.path} ({largest.rows:,} "
        f"x {largest.dim}) most of all: {show_bytes(sizes[largest.path])}. The ranks have {have} for tables"
    ]
    if need > hbm + ddr:
        lines[0] += f": rows or dims must shrink to {(hbm + ddr) / need:.0%} to fit there"
    return lines


def _forgotten_units(cluster: Cluster) -> list[str]:
    sizes = {"hbm": cluster.hbm, "ddr": cluster.ddr} if cluster.device == "cuda" else {"ddr": cluster.ddr}
    return [
        f"--{name} {size} is {show_bytes(size)}: sizes without a unit are bytes; write {size}GiB if meant so"
        for name, size in sizes.items()
        if size < 10**6
    ]


def _listed(fixes: list[str]) -> list[str]:
    if not fixes:
        return [
            f"neither {TRIED_RANKS:,} such ranks nor {MOST_GIB:,} GiB of HBM or DDR a rank are enough: "
            "change more than one of them, loosen training.sharding, or take fewer rows"
        ]
    return ["nearest fixes, each by itself and tried:", *(f"  - {fix}" for fix in fixes)]

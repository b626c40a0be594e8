"""What managed tables did in a training: rows given to values, evictions, and tables that never fill."""

from __future__ import annotations

from torch import nn

from interactrank.distributed.collectives import all_gather_objects
from interactrank.modules.managed import ManagedIds

__all__ = ["managed_report", "managed_totals", "never_managed"]


def managed_report(model: nn.Module) -> dict[str, float]:
    """Return what managed tables did since the last call, over all ranks. All ranks must call it.

    Args:
        model: sharded or not.

    Returns:
        For each table ``managed/<table>/``: ``lookups`` in training, ``own``, the share of them whose value
        had a row of its own, ``evicted`` values and ``inserted`` values. Empty without managed tables.
    """
    mine: dict[str, list[int]] = {}
    for path, module in model.named_modules():
        if isinstance(module, ManagedIds):
            mine[path.rpartition(".")[2]] = module.statistics.tolist()
            module.statistics.zero_()
    if not mine:
        return {}
    everyone = all_gather_objects(mine)
    row: dict[str, float] = {}
    for table in mine:
        lookups, own, evicted, inserted = (
            sum(numbers) for numbers in zip(*(theirs[table] for theirs in everyone), strict=True)
        )
        row |= {
            f"managed/{table}/lookups": lookups,
            f"managed/{table}/own": own / max(lookups, 1),
            f"managed/{table}/evicted": evicted,
            f"managed/{table}/inserted": inserted,
        }
    return row


def never_managed(model: nn.Module, steps: int) -> list[str]:
    """Return a warning for each managed table whose rows a training this short never gives to any value."""
    tables = {path.rpartition(".")[2]: m for path, m in model.named_modules() if isinstance(m, ManagedIds)}
    return [
        f"managed table {name}: rows are given to values every {managed.eviction.interval} steps, and the "
        f"whole training has {steps}: all values of a bucket will share one row; lower its "
        f"eviction_interval, or train for more steps"
        for name, managed in tables.items()
        if steps < managed.eviction.interval
    ]


def managed_totals(history: list[dict[str, float]]) -> list[str]:
    """Return a line for each managed table of a run.

    Args:
        history: rows with the numbers that :func:`managed_report` returned.

    Example::

        >>> row = {"step": 1, "managed/item/lookups": 8, "managed/item/own": 0.5}
        >>> managed_totals([row | {"managed/item/evicted": 2, "managed/item/inserted": 3}])
        ['managed table item: 8 look-ups, 50.0 % of them of a row of their own; 3 values inserted, 2 evicted']
    """
    lines = []
    tables = dict.fromkeys(key.split("/")[1] for row in history for key in row if key.startswith("managed/"))
    for table in tables:
        key = f"managed/{table}/"
        rows = [row for row in history if f"{key}lookups" in row]
        lookups = sum(row[f"{key}lookups"] for row in rows)
        own = sum(row[f"{key}lookups"] * row[f"{key}own"] for row in rows) / max(lookups, 1)
        inserted, evicted = (sum(row[f"{key}{what}"] for row in rows) for what in ("inserted", "evicted"))
        lines.append(
            f"managed table {table}: {lookups:,.0f} look-ups, {own:.1%} of them of a row of their own; "
            f"{inserted:,.0f} values inserted, {evicted:,.0f} evicted".replace("%", " %")
        )
    return lines

"""The traits of every sharding type, in one table.

Everything that depends on a sharding type looks it up here: which tables may have it, on which ranks its
shards must be, whether its ranks send partial sums, which types the planner tries by itself. To add a type:

1. add its name to :data:`ShardingType` and a row to :data:`TYPES`;
2. if its ranks obey a rule that no other type has, add the rule to :data:`Ranks` and to
   ``planner/rank_rules.py``;
3. run ``tests/sharding/test_types.py``, ``tests/sharding/test_shard.py`` and
   ``tests/sharding/torchrec_patches/test_mean_pooling.py``: they train and pool with every row of the table
   and compare with the unsharded model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torchrec.distributed.types import ShardingPlan

__all__ = ["TYPES", "Ranks", "ShardingType", "Traits", "replicated_tables", "types_where"]

ShardingType = Literal[
    "table_wise",
    "row_wise",
    "column_wise",
    "table_row_wise",
    "table_column_wise",
    "grid_shard",
    "data_parallel",
]

Ranks = Literal["one", "any", "of_one_node", "one_node", "whole_nodes", "all"]
"""On which ranks the shards of a table may be.

``one``: a rank. ``any``: ranks in any order. ``of_one_node``: some ranks of one node. ``one_node``: all
ranks of one node, in order. ``whole_nodes``: all ranks of some nodes, in order. ``all``: all ranks of the
job, in order.
"""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is true of a sharding type.

    Attributes:
        ranks: on which ranks the shards may be.
        pooled: devices on which a table of an EmbeddingBagCollection may have it.
        sequence: devices on which a table of an EmbeddingCollection may have it.
        managed: whether a managed table may have it, whose ranks hold whole buckets of rows.
        rows_over: over which ranks the rows of a shard's columns are split; None if a shard has all rows.
        splits_columns: whether shards have a part of the columns each.
        sends_sums: whether ranks send partial sums of a bag, which its owner adds up.
        replicated: whether every rank holds the whole table and dense gradients are averaged.
        planned: whether the planner tries it for a table without constraints; ``multi_node_gpu``: on several
            nodes with GPUs, for pooled tables; ``small``: for tables that
            :func:`~interactrank.sharding.planner.replication.replicable` names.
    """

    ranks: Ranks
    pooled: tuple[str, ...] = ("cpu", "cuda")
    sequence: tuple[str, ...] = ()
    managed: bool = False
    rows_over: Literal["job", "node"] | None = None
    splits_columns: bool = False
    sends_sums: bool = False
    replicated: bool = False
    planned: Literal["always", "multi_node_gpu", "small"] | None = None

    def leaves_ranks_empty(self, rows: int, ranks: int, ranks_per_node: int) -> bool:
        """Return whether a table of ``rows`` rows would be split so that some rank has no row of it.

        Shards have equally many rows, rounded up, so that the last ranks may have none.

        Example::

            >>> TYPES["row_wise"].leaves_ranks_empty(5, 4, 4), TYPES["row_wise"].leaves_ranks_empty(7, 4, 4)
            (True, False)
        """
        over = {"job": ranks, "node": ranks_per_node, None: 1}[self.rows_over]
        return -(-rows // over) * (over - 1) >= rows

    def column_shards(self, ranks: int, ranks_per_node: int) -> int:
        """Return how many shards lie side by side if the table is on ``ranks`` ranks.

        Example::

            >>> TYPES["grid_shard"].column_shards(16, 8), TYPES["column_wise"].column_shards(3, 8)
            (2, 3)
        """
        if not self.splits_columns:
            return 1
        return max(1, ranks // (ranks_per_node if self.rows_over == "node" else 1))


BOTH = ("cpu", "cuda")

TYPES: Mapping[ShardingType, Traits] = {
    "table_wise": Traits(ranks="one", sequence=BOTH, planned="always"),
    "row_wise": Traits(
        ranks="all", sequence=BOTH, managed=True, rows_over="job", sends_sums=True, planned="always"
    ),
    "column_wise": Traits(ranks="any", sequence=BOTH, splits_columns=True),
    "table_row_wise": Traits(ranks="one_node", rows_over="node", sends_sums=True, planned="multi_node_gpu"),
    "table_column_wise": Traits(ranks="of_one_node", splits_columns=True),
    "grid_shard": Traits(ranks="whole_nodes", rows_over="node", splits_columns=True, sends_sums=True),
    # On CPU FBGEMM's dense kernel pools the rows of a sequence table: see torchrec_patches/README.md.
    "data_parallel": Traits(ranks="all", sequence=("cuda",), replicated=True, planned="small"),
}


def types_where(**traits: object) -> list[ShardingType]:
    """Return the sharding types with these traits, in the order of the table.

    Example::

        >>> types_where(splits_columns=True)
        ['column_wise', 'table_column_wise', 'grid_shard']
    """
    return [
        name
        for name, of in TYPES.items()
        if all(getattr(of, trait) == value for trait, value in traits.items())
    ]


def replicated_tables(plan: ShardingPlan) -> set[str]:
    """Return the tables of a plan that every rank holds in full, as ``collection.table``."""
    return {
        f"{path}.{table}"
        for path, sharding in plan.plan.items()
        for table, of in sharding.items()
        if TYPES[of.sharding_type].replicated
    }

"""Process groups of nodes that outlive the group that they are part of.

Symptom: a process that opens a second process group, and shards a table row-wise within a node or by a grid
again, uses groups of the first one: it fails, hangs, or sums over the wrong ranks.

Cause: ``torchrec.distributed.comm`` keeps its groups within and between nodes in two globals that nothing
clears.

Upstream: no issue found on 2026-11-27; https://github.com/meta-pytorch/torchrec/pull/1147 changed their
backend.

Versions: seen in TorchRec 1.8.0.

Remove when: ``intra_and_cross_node_pg`` returns groups of the current process group
(``tests/sharding/torchrec_patches/test_topology_globals.py``).
"""

from __future__ import annotations

from torchrec.distributed import comm

__all__ = ["forget_nodes"]


def forget_nodes() -> None:
    """Let the next process group of this process make its own groups of nodes."""
    comm._INTRA_PG = comm._CROSS_PG = None

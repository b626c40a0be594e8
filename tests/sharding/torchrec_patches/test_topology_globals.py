import torch
import torch.distributed as dist
from torchrec.distributed import comm

from interactrank.distributed.world import at_group_end, process_group
from interactrank.sharding.torchrec_patches.topology_globals import forget_nodes

CPU = torch.device("cpu")


def test_topology_globals__torchrec_alone_still_keeps_groups_that_are_gone() -> None:
    with process_group("cpu"):
        first, _ = comm.intra_and_cross_node_pg(CPU)
    with process_group("cpu"):
        assert comm.intra_and_cross_node_pg(CPU)[0] is first  # of a process group that was destroyed
        assert first not in dist.distributed_c10d._world.pg_map
        at_group_end(forget_nodes)
    with process_group("cpu"):
        own, _ = comm.intra_and_cross_node_pg(CPU)
        assert own in dist.distributed_c10d._world.pg_map
        at_group_end(forget_nodes)
    assert comm._INTRA_PG is None

"""The nodes of a job: how many ranks, what memory each has, and how fast it is.

Sizes are bytes and speeds bytes a second. TorchRec's planner takes speeds in bytes a millisecond.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    Topology,
    TopologyFactory,
    TrainerConfig,
)

from interactrank.distributed.world import World
from interactrank.sharding.byte_sizes import show_bytes
from interactrank.sharding.errors import ShardingError

__all__ = ["CPU_SPEEDS", "RESERVED", "Cluster", "Speeds", "cluster_of"]

RESERVED = 0.15  # share of a rank's memory that is left to activations, batches and the allocator


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Bytes a second; the defaults are those of TorchRec's planner, whose GPU is a V100-class one.

    CPU_SPEEDS are those of ranks without GPUs.

    Attributes:
        hbm: speed of a GPU's own memory.
        ddr: speed of a rank's share of the host's memory.
        hbm_ddr: speed between the two.
        within: speed from a rank to the others of its node.
        between: speed from a rank to those of other nodes.
    """

    hbm: float = 897 * 2**30
    ddr: float = 51 * 2**30
    hbm_ddr: float = 32 * 2**30
    within: float = 600 * 2**30
    between: float = 12.5 * 2**30


CPU_SPEEDS = Speeds(ddr=10 * 2**30, within=2**30, between=2**30)
"""Of a process with a core or two: random rows from memory, and gloo over sockets."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Nodes of one kind.

    Attributes:
        nodes: number of nodes.
        ranks_per_node: processes on each; one for each GPU.
        device: ``cuda``, or ``cpu`` for tables in the host's memory.
        hbm: bytes of a GPU; 0 for ``cpu``.
        ddr: bytes of the host's memory for each rank.
        speeds: speeds, for the expected times; those of the device when left out.
    """

    nodes: int = 1
    ranks_per_node: int = 1
    device: str = "cuda"
    hbm: int = 0
    ddr: int = 0
    speeds: Speeds | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}; it must be at least 1"
            for name, value in (("nodes", self.nodes), ("ranks per node", self.ranks_per_node))
            if value < 1
        ]
        if self.device == "cuda" and self.hbm < 1:
            problems.append("GPUs need a memory size (hbm)")
        if self.ddr < 1:
            problems.append("the hosts need a memory size (ddr)")
        if problems:
            raise ShardingError("\n".join(problems))

    @property
    def ranks(self) -> int:
        """Number of ranks of the whole job."""
        return self.nodes * self.ranks_per_node

    @property
    def rates(self) -> Speeds:
        """The speeds that were given, or those of the device."""
        return self.speeds or (Speeds() if self.device == "cuda" else CPU_SPEEDS)

    @property
    def memory(self) -> str:
        """Memory of fused tables: ``hbm`` or ``ddr``."""
        return "hbm" if self.device == "cuda" else "ddr"

    def usable(self, dense_bytes: int = 0, copied: bool = False) -> tuple[int, int]:
        """Return the bytes of (hbm, ddr) of a rank for tables, without what is reserved and dense parameters.

        Args:
            dense_bytes: weights, gradients and Adam's two moments of the dense parameters.
            copied: whether the host also has a copy of them without gradients, for checkpoints.

        Example::

            >>> Cluster(hbm=1000, ddr=500).usable(dense_bytes=50)
            (800, 425)
        """
        hbm, ddr = (int(size * (1 - RESERVED)) for size in (self.hbm, self.ddr))
        ddr = max(0, ddr - (3 * dense_bytes // 4 if copied else 0))
        if self.device == "cuda":
            return max(0, hbm - dense_bytes), ddr
        return 0, max(0, ddr - dense_bytes)

    def topology(self, dense_bytes: int = 0, copied: bool = False) -> Topology:
        """Return what TorchRec's planner knows of the cluster; its capacities are those of :meth:`usable`."""
        hbm, ddr = self.usable(dense_bytes, copied)
        speeds = self.rates
        return TopologyFactory.create_topology(
            trainer_config=TrainerConfig(world_size=self.ranks, local_world_size=self.ranks_per_node),
            hardware_config=HardwareConfig(
                hbm_cap_bytes=hbm if self.device == "cuda" else None,
                ddr_cap_bytes=ddr,
                hbm_mem_bw=speeds.hbm / 1000,
                ddr_mem_bw=speeds.ddr / 1000,
                hbm_to_ddr_mem_bw=speeds.hbm_ddr / 1000,
                intra_host_bw=speeds.within / 1000,
                inter_host_bw=speeds.between / 1000,
            ),
            kernel_config=KernelConfig(compute_device=self.device, use_hardware_based_bandwidth=True),
        )

    def with_nodes(self, nodes: int) -> Cluster:
        """Return another number of the same nodes."""
        return replace(self, nodes=nodes)

    def __str__(self) -> str:
        """Return, for example, ``8 nodes x 8 GPUs, each 80.0 GiB and 200.0 GiB of its host``."""
        ranks = f"{self.ranks_per_node} {'GPU' if self.device == 'cuda' else 'process'}"
        ranks += ("es" if self.device == "cpu" else "s") if self.ranks_per_node > 1 else ""
        nodes = f"{self.nodes} node{'s' * (self.nodes > 1)} x {ranks}"
        if self.device == "cpu":
            return f"{nodes}, each {show_bytes(self.ddr)}"
        return f"{nodes}, each {show_bytes(self.hbm)} and {show_bytes(self.ddr)} of its host"


def cluster_of(world: World) -> Cluster:
    """Return the cluster of the current job, assuming identical nodes.

    If nodes have different numbers of ranks, each rank counts as a node: no layout then relies on which ranks
    share one.
    """
    cuda = world.device.type == "cuda"
    alike = world.size % world.local_size == 0
    return Cluster(
        nodes=world.size // world.local_size if alike else world.size,
        ranks_per_node=world.local_size if alike else 1,
        device=world.device.type,
        hbm=torch.cuda.get_device_properties(world.device).total_memory if cuda else 0,
        ddr=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // world.local_size,
    )

"""The machines of a job: how many ranks, what memory each has, and how fast it is.

Sizes are bytes and speeds bytes a second. TorchRec's planner takes speeds in bytes a millisecond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    Topology,
    TopologyFactory,
    TrainerConfig,
)

from interactrank.core.errors import TrainingError

__all__ = ["RESERVED", "Cluster", "Speeds", "parse_bytes", "show_bytes"]

RESERVED = 0.15  # share of a rank's memory that is left to activations, batches and the allocator
_UNITS = {
    **{f"{k}B": 1000**n for n, k in enumerate(("", "K", "M", "G", "T", "P"))},
    **{f"{k}iB": 1024**n for n, k in enumerate(("", "K", "M", "G", "T", "P")) if n},
}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as ``80GiB``, ``1.5TB`` or ``4096``.

    Raises:
        ValueError: the text is no size; names the units.

    Example::

        >>> parse_bytes("80GiB"), parse_bytes("1.5 TB"), parse_bytes("4096")
        (85899345920, 1500000000000, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*([A-Za-z]*)\s*", text)
    units = {name.lower(): size for name, size in _UNITS.items()}
    if match is None or (match[2].lower() or "b") not in units or not float(match[1]):
        raise ValueError(f"'{text}' is no size above 0; write a number with a unit of {', '.join(_UNITS)}")
    return int(float(match[1]) * units[match[2].lower() or "b"])


def show_bytes(size: float) -> str:
    """A size to read, in powers of 1024.

    Example::

        >>> show_bytes(85899345920), show_bytes(1536), show_bytes(12)
        ('80.0 GiB', '1.5 KiB', '12 B')
    """
    for unit, name in ((2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(size) >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} B"


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Bytes a second; the defaults are those of TorchRec's planner, whose GPU is a V100-class one.

    Attributes:
        hbm: of a GPU's own memory.
        ddr: of a rank's share of the host's memory.
        hbm_ddr: between the two.
        within: from a rank to the others of its machine.
        between: from a rank to those of other machines.
    """

    hbm: float = 897 * 2**30
    ddr: float = 51 * 2**30
    hbm_ddr: float = 32 * 2**30
    within: float = 600 * 2**30
    between: float = 12.5 * 2**30


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines of one kind.

    Attributes:
        nodes: machines.
        ranks_per_node: processes on each; one for each GPU.
        device: ``cuda``, or ``cpu`` where tables lie in the host's memory.
        hbm: bytes of a GPU; 0 for ``cpu``.
        ddr: bytes of the host's memory for each rank.
        speeds: for the expected times.
    """

    nodes: int = 1
    ranks_per_node: int = 1
    device: str = "cuda"
    hbm: int = 0
    ddr: int = 0
    speeds: Speeds = field(default_factory=Speeds)

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
            raise TrainingError("\n".join(problems))

    @property
    def ranks(self) -> int:
        """Of the whole job."""
        return self.nodes * self.ranks_per_node

    @property
    def memory(self) -> str:
        """Where fused tables lie: ``hbm`` or ``ddr``."""
        return "hbm" if self.device == "cuda" else "ddr"

    def usable(self, dense_bytes: int = 0, copied: bool = False) -> tuple[int, int]:
        """Bytes of (hbm, ddr) of a rank for tables, after what is reserved and the dense parameters.

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
        """What TorchRec's planner knows of the cluster; its capacities are those of :meth:`usable`."""
        hbm, ddr = self.usable(dense_bytes, copied)
        speeds = self.speeds
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
        """The same machines in another number."""
        return replace(self, nodes=nodes)

    def __str__(self) -> str:
        """Such as ``8 machines x 8 GPUs, each 80.0 GiB and 200.0 GiB of its host``."""
        ranks = f"{self.ranks_per_node} {'GPU' if self.device == 'cuda' else 'process'}"
        ranks += ("es" if self.device == "cpu" else "s") if self.ranks_per_node > 1 else ""
        machines = f"{self.nodes} machine{'s' * (self.nodes > 1)} x {ranks}"
        if self.device == "cpu":
            return f"{machines}, each {show_bytes(self.ddr)}"
        return f"{machines}, each {show_bytes(self.hbm)} and {show_bytes(self.ddr)} of its host"

"""The ranks of a job: process group, collectives of objects, failures and preemption. Knows no search."""

from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks, run_on_rank0
from interactrank.distributed.errors import ProcessGroupError, RankError
from interactrank.distributed.preemption import EXIT_PREEMPTED, Agreement, PreemptedError, StopSignal
from interactrank.distributed.world import World, at_group_end, current_world, process_group

__all__ = [
    "EXIT_PREEMPTED",
    "Agreement",
    "PreemptedError",
    "ProcessGroupError",
    "RankError",
    "StopSignal",
    "World",
    "all_gather_objects",
    "at_group_end",
    "current_world",
    "process_group",
    "raise_on_all_ranks",
    "run_on_rank0",
]

"""The ranks of a job: process group, collectives of objects, failures and preemption. Knows no search."""

from interactrank.distributed.collectives import (
    RankError,
    all_gather_objects,
    raise_on_all_ranks,
    run_on_rank0,
)
from interactrank.distributed.preemption import EXIT_PREEMPTED, PreemptedError
from interactrank.distributed.world import World, current_world, process_group

__all__ = [
    "EXIT_PREEMPTED",
    "PreemptedError",
    "RankError",
    "World",
    "all_gather_objects",
    "current_world",
    "process_group",
    "raise_on_all_ranks",
    "run_on_rank0",
]

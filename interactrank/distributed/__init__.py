"""The ranks of a job: process group, collectives of objects, failures and preemption. Knows no search."""

from interactrank.distributed.collectives import RankError, gather, on_main, say, together
from interactrank.distributed.preemption import EXIT_PREEMPTED, PreemptedError
from interactrank.distributed.world import World, current_world, process_group

__all__ = [
    "EXIT_PREEMPTED",
    "PreemptedError",
    "RankError",
    "World",
    "current_world",
    "gather",
    "on_main",
    "process_group",
    "say",
    "together",
]

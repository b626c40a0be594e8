"""Third-party warnings that say nothing about the user's job, silenced in one place.

Only messages whose cause is known are listed, each with why it is safe. The planner's warnings about missing
sharding types or kernels are not listed, because they matter. The command line silences them for its process;
importing the package or opening a process group does not.
"""

from __future__ import annotations

import logging
import warnings

__all__ = ["silence_known_warnings"]

_WARNINGS: list[tuple[str, type[Warning]]] = [
    # TorchRec passes DDP arguments that a later torch will drop; the behaviour is the same.
    (r".*broadcast_buffers.*", FutureWarning),
    # Renamed collectives that row-wise sharding still calls by their old names.
    (r".*reduce_scatter_tensor.*", FutureWarning),
    (r".*all_gather_into_tensor.*", FutureWarning),
    # Replicated tables on CPU; gradients were compared with a plain embedding and are exact.
    (r".*dense_embedding_codegen_lookup_function.*autograd kernel.*", UserWarning),
    # torch.distributed.checkpoint still goes through ShardedTensor, as TorchRec does.
    (r".*Please use DTensor instead.*", FutureWarning),
    (r".*TypedStorage is deprecated.*", UserWarning),
]

_LOG_MESSAGES: dict[str, tuple[str, ...]] = {
    # The first use of a KeyedJaggedTensor, always.
    "torch.fx._symbolic_trace": ("is_fx_tracing will return true",),
    # Where ranks run: a pod size is set on pods of machines only.
    "torchrec.distributed.comm": ("TORCHREC_RESOLVED_POD_SIZE not set", "[Connection]"),
    # Replicated tables need neither a sharding spec nor a cache; one process without torchrun is one node.
    "root": (
        "Sharding spec not found for",
        "caching params will be ignored",
        "Could not determine LOCAL_WORLD_SIZE",
    ),
}


class _Drop(logging.Filter):
    """A filter that drops records with one of the given parts."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.parts = parts

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(part in message for part in self.parts)


def silence_known_warnings() -> None:
    """Silence the messages listed above for the rest of the process; a second call changes nothing."""
    for message, category in _WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    for name, parts in _LOG_MESSAGES.items():
        logger = logging.getLogger(None if name == "root" else name)
        if not any(isinstance(f, _Drop) for f in logger.filters):
            logger.addFilter(_Drop(parts))

"""torchrun's agent for jobs that we start: torchrun without the traceback that it ends with.

It takes torchrun's arguments. A rank that fails writes its error to a file, the agent copies it to the file
that torchx reads, and who started the job shows it, last and alone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.run import parse_args, run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run torchrun's agent; return the exit code of the rank that failed first, else 0."""
    # "failed (exitcode: 1) local_rank: 0" and the like, told for each rank.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    logging.getLogger("torch.distributed.elastic.agent.server.api").setLevel(logging.CRITICAL)
    try:
        record(run)(parse_args(arguments))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``train`` as a step of a benchmark: it goes on for some steps at each call, and waits between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from interactrank.batch import SearchBatch
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.world import current_world
from interactrank.models import InteractRank
from interactrank.runs.config import RunConfig
from interactrank.sharding.table_init import table_device
from interactrank.training.trainer import Loader, train


class Stopped(Exception):
    """There are no more blocks."""


class Gate:
    """A loader that hands a batch out only within a block that was asked for.

    Args:
        loader: whose batches they are.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader, self.left = loader, 0
        self.asked: queue.Queue[int] = queue.Queue()
        self.reached: queue.Queue[BaseException | None] = queue.Queue()

    @property
    def steps_per_epoch(self) -> int:
        """Of the loader."""
        return self.loader.steps_per_epoch

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        """The loader's batches; a block is over when the batch behind it is asked for and there."""
        for batch in self.loader.epoch(n, start):
            if self.left == 0:
                self.reached.put(None)
                self.left = self.asked.get()
                if self.left == 0:
                    raise Stopped
            self.left -= 1
            yield batch

    def go(self, batches: int) -> None:
        """Release this number of batches (0 ends the training), and waits until they have been trained on.

        Raises:
            BaseException: what training failed of.
        """
        self.asked.put(batches)
        self.wait()

    def wait(self) -> None:
        """Waits until the training is at the gate, or has ended."""
        error = self.reached.get()
        if error is not None and not isinstance(error, Stopped):
            raise error


class TrainInBlocks:
    """Training in a thread of its own, which moves only while this is called.

    So the process can answer between the blocks; no two threads use the process group at a time.

    Args:
        log: the prepared log.
        of: the run's settings; its steps must outlast all blocks.
        output: folder of the run, seen by all ranks.
        block: steps of a call.
    """

    def __init__(self, log: PreparedDataset, of: RunConfig, output: Path, block: int) -> None:
        world = current_world()
        self.block = block
        self.gate = Gate(SearchLoader(log, "train", of.loader, rank=world.rank, world_size=world.size))
        threads = torch.get_num_threads()

        def run() -> None:
            torch.set_num_threads(threads)
            if world.device.type == "cuda":
                torch.cuda.set_device(world.device)
            try:
                weights = sum(rows * log.schema.tables[t].dim for t, rows in log.layout.table_rows.items())
                device = table_device(of.training, 4 * weights, world)
                torch.manual_seed(of.training.seed)
                model = InteractRank(layout=log.layout, settings=of.model, table_device=device)
                train(model, self.gate, of.training, output)
                raise RuntimeError("training ended before its blocks did")
            except BaseException as error:
                self.gate.reached.put(error)

        self.thread = threading.Thread(target=run, name="train", daemon=True)
        self.thread.start()
        self.gate.wait()

    def __call__(self) -> None:
        """Trains for a block."""
        self.gate.go(self.block)

    def stop(self) -> None:
        """Ends the training."""
        self.gate.go(0)
        self.thread.join()

"""Checkpoints of a sharded run: written whole or not at all, checked before use, resumed on any ranks.

A checkpoint is a folder ``step_<n>`` of torch.distributed.checkpoint files (each rank writes its shards of
the tables) and a ``manifest.json``: the position in the data, the names and shapes of everything saved, and
the size and SHA-256 of every file. It is written under a temporary name and renamed when all of it is on
disk, so the newest folder with a manifest is complete. All ranks must see the same file system.

In the background a thread writes a copy of the state while training goes on. Such saves use their own process
group, so that their collectives cannot interleave with those of training.

The ``.metadata`` file of torch.distributed.checkpoint is a pickle: a checkpoint is to be trusted like code.
Its checksum is compared before it is opened.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import KeyedOptimizer
from typing_extensions import Self

from interactrank.checkpoint import manifest as manifests
from interactrank.checkpoint.buffers import buffers_of_ranks, copy_buffers
from interactrank.checkpoint.manifest import VERSION, CheckpointError
from interactrank.checkpoint.rng import random_state, set_random_state
from interactrank.checkpoint.staging import Staging
from interactrank.checkpoint.state_layout import canonicalize_optimizer_state
from interactrank.checkpoint.writer import HashingWriter, SharingPlanner
from interactrank.core.files import fsync
from interactrank.core.manifest import MANIFEST, Manifest
from interactrank.distributed.collectives import all_gather_objects, raise_on_all_ranks, run_on_rank0
from interactrank.distributed.world import World, current_world
from interactrank.sharding.torchrec_patches.step_counts import set_table_steps, table_steps

__all__ = ["CheckpointStore"]

logger = logging.getLogger(__name__)

_VISIBLE_S = 10.0  # how long a network file system may take to show a new folder to the other machines


class CheckpointStore:
    """The checkpoints of one run. All ranks must call each method, at the same step.

    As a context manager it waits at the end for this rank's part of what is being written.

    Args:
        folder: of the checkpoints; made when the first is saved.
        keep: number of newest checkpoints that stay.
        background: whether :meth:`save` returns when the state is copied, and writes while training goes on.

    Attributes:
        protected: step of a checkpoint that stays, however old it becomes; None for none.

    Example::

        with CheckpointStore("run/checkpoints") as checkpoints:
            if newest := checkpoints.latest():
                checkpoints.load(newest, dmp, optimizer)
            ...
            checkpoints.save(dmp, optimizer, step, {"step": step})
            checkpoints.wait()
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2, background: bool = False) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self.background = background
        self.protected: int | None = None
        self._staging = Staging()
        self._group: dist.ProcessGroup | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.join_local()

    def latest(self) -> Path | None:
        """Return the newest complete checkpoint, or None; unfinished ones do not count.

        Raises:
            CheckpointError: there are only folders without a manifest, which is not how a save leaves them.
        """
        found, damaged = run_on_rank0("looking for checkpoints", self._list)
        if damaged and not found:
            raise CheckpointError(
                f"{self.folder / damaged[-1]} has no {MANIFEST}, and there is no other checkpoint; delete it "
                "to start from scratch"
            )
        for name in damaged:
            logger.warning("%s is incomplete (no %s) and ignored; delete it", self.folder / name, MANIFEST)
        return found[-1] if found else None

    def path(self, step: int) -> Path:
        """Return the folder of the checkpoint of ``step``, whether it is there or not."""
        return self.folder / f"step_{step:010d}"

    def _list(self) -> tuple[list[Path], list[str]]:
        found = manifests.complete_checkpoints(self.folder)
        return found, sorted(path.name for path in self.folder.glob("step_*") if path not in found)

    def allocate_staging(self, dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> None:
        """Allocate the memory that saving in the background needs, so that the first save need not.

        Call it when the first checkpoint is still some steps away; it returns at once.
        """
        if self.background:
            self._staging.allocate(canonicalize_optimizer_state(_state(dmp, optimizer)))

    def save(
        self,
        dmp: DistributedModelParallel,
        optimizer: KeyedOptimizer,
        step: int,
        position: dict[str, Any] | None = None,
    ) -> Path:
        """Save model, optimizer state, random state and position as ``step_<n>``, then delete the oldest.

        In the background it waits for the checkpoint before it, and returns before this one is complete.

        Args:
            dmp: the sharded model.
            optimizer: all of its optimizers, as :func:`~interactrank.training.build_optimizer` joins them.
            step: steps done.
            position: what else is to be known when the run is resumed, in JSON's types.

        Returns:
            The folder of the checkpoint.

        Raises:
            CheckpointError: a file cannot be written, on any rank; earlier checkpoints stay as they were.
            OSError: the manifest cannot be written (on other ranks a RankError that quotes it).
        """
        self.wait()
        world = current_world()
        final = self.path(step)
        temporary = self.folder / f".unfinished_{final.name}"
        run_on_rank0("preparing the checkpoint's folder", lambda: self._make_directory(temporary))
        with raise_on_all_ranks("looking for the checkpoint's folder"):
            _check_visible(temporary)
        state = canonicalize_optimizer_state(_state(dmp, optimizer))
        facts: dict[str, Any] = {
            "version": VERSION,
            "position": position if position is not None else {"step": step},
            "world_size": world.size,
            "table_steps": table_steps(dmp),
            "sharding": _sharding(dmp),
            "contents": manifests.contents(state),
        }
        state["rng"] = _random_state_of(world)
        facts["random_state"] = sorted(random_state())
        own, facts["buffers_of_ranks"] = buffers_of_ranks(dmp)
        if own:
            state["buffers"] = own
        if not self.background:
            self._write(state, facts, temporary, final, None)
            return final
        if self._group is None:
            self._group = dist.new_group(backend="gloo")
        arguments = (self._staging.copy(state), facts, temporary, final, self._group)
        self._thread = threading.Thread(
            target=self._run_async, args=arguments, name="interactrank-checkpoint", daemon=True
        )
        self._thread.start()
        return final

    @property
    def has_failed(self) -> bool:
        """Whether a save in the background has failed on this rank; :meth:`wait` then raises why."""
        return self._error is not None

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            CheckpointError: a save in the background failed, on any rank (a RankError on the others).
            OSError: its manifest could not be written.
        """
        if self._thread is None:
            return
        self.join_local()
        self._thread, error, self._error = None, self._error, None
        with raise_on_all_ranks("writing a checkpoint in the background"):
            if error is not None:
                raise error

    def join_local(self) -> None:
        """Wait for this rank's part of what is being written; the other ranks need not call it."""
        if self._thread is not None:
            self._thread.join()

    def position(self, path: Path) -> dict[str, Any]:
        """Return the position that was saved with a checkpoint.

        Raises:
            CheckpointError: its manifest is missing, unreadable or of another format.
        """
        with raise_on_all_ranks(f"reading the manifest of {path}"):
            return manifests.read(path).facts["position"]

    def load(self, path: Path, dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> bool:
        """Fill model and optimizer from a checkpoint, after every check has passed.

        The number of ranks and the sharding may differ from those at saving.

        Args:
            path: a folder that :meth:`save` made.
            dmp: the sharded model.
            optimizer: all of its optimizers, as :func:`~interactrank.training.build_optimizer` joins them.

        Returns:
            Whether the random state was restored, too: with the same number of ranks and kind of device.

        Raises:
            CheckpointError: a file is missing, truncated or changed, or the checkpoint is of another model.
        """
        world = current_world()
        manifest = Manifest()
        with raise_on_all_ranks(f"checking the checkpoint {path}"):
            manifest = manifests.read(path)
            manifests.verify(path, manifest, sorted(manifest.files)[world.rank :: world.size])
        facts = manifest.facts
        own_state = _state(dmp, optimizer)
        state = canonicalize_optimizer_state(
            own_state
        )  # other names for the same memory, which is filled in place
        expected = manifests.contents(state)
        with raise_on_all_ranks(f"comparing the checkpoint {path}"):
            manifests.compare(path, manifest, expected, _sharding(dmp))
        same_ranks = bool(facts["world_size"] == world.size)
        same_random = same_ranks and facts["random_state"] == sorted(random_state())
        if same_random:
            state["rng"] = _random_state_of(world)
        if same_ranks and (own := facts["buffers_of_ranks"]):
            state["buffers"] = copy_buffers(dmp, own)
        _name_failures(f"reading {path}", lambda: dcp.load(state, checkpoint_id=path))
        dmp.load_state_dict(own_state["model"])
        optimizer.load_state_dict(own_state["optimizer"])
        set_table_steps(dmp, facts["table_steps"])
        if same_ranks:
            copy_buffers(dmp, facts["buffers_of_ranks"], state.get("buffers"))
        if same_random:
            tail = f"_{world.rank}"
            set_random_state({name.removesuffix(tail): value for name, value in state["rng"].items()})
        return same_random

    def _run_async(self, *arguments: Any) -> None:
        try:
            self._write(*arguments)
        except BaseException as error:  # raised by `wait`, in the main thread
            self._error = error

    def _write(
        self,
        state: dict[str, Any],
        facts: dict[str, Any],
        temporary: Path,
        final: Path,
        group: dist.ProcessGroup | None,
    ) -> None:
        writer = HashingWriter(temporary)
        try:
            _name_failures(
                f"writing {temporary}",
                lambda: dcp.save(state, storage_writer=writer, planner=SharingPlanner(), process_group=group),
            )
        finally:
            writer.close()
        files: dict[str, dict[str, Any]] = {}
        for theirs in all_gather_objects(writer.digests, group):
            files.update(theirs)
        manifest = Manifest(facts, dict(sorted(files.items())))
        protected = None if self.protected is None else self.path(self.protected)

        def finish() -> None:
            manifest.write(temporary, seal=True)
            if final.exists():
                _remove(final)
            os.rename(temporary, final)
            fsync(self.folder)
            for old in manifests.complete_checkpoints(self.folder)[: -self.keep]:
                if old != protected:
                    _remove(old)

        run_on_rank0("finishing the checkpoint", finish, group)

    def _make_directory(self, temporary: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob(".unfinished_*"):
            shutil.rmtree(unfinished)
        temporary.mkdir()


def _check_visible(folder: Path) -> None:
    deadline = time.monotonic() + _VISIBLE_S
    while not folder.is_dir():
        if time.monotonic() > deadline:
            raise CheckpointError(
                f"{folder.parent}: this rank does not see the folder that rank 0 made in it; checkpoints "
                "need an output folder on a file system that all machines share"
            )
        time.sleep(0.1)


def _remove(checkpoint: Path) -> None:
    """Delete a checkpoint under another name, so that what a kill leaves of it is cleared like a save's."""
    unfinished = checkpoint.with_name(f".unfinished_{checkpoint.name}_removed")
    os.rename(checkpoint, unfinished)
    shutil.rmtree(unfinished)


def _name_failures(doing: str, call: Callable[[], object]) -> None:
    try:
        call()
    except CheckpointException as error:  # a BaseException, raised on all ranks
        reasons = "; ".join(
            f"rank {rank}: {type(e).__name__}: {e}" for rank, (e, _) in error.failures.items()
        )
        raise CheckpointError(f"{doing} failed: {reasons}") from error


def _random_state_of(world: World) -> dict[str, Tensor]:
    return {f"{name}_{world.rank}": value for name, value in random_state().items()}


def _state(dmp: DistributedModelParallel, optimizer: KeyedOptimizer) -> dict[str, Any]:
    return {"model": dmp.state_dict(), "optimizer": optimizer.state_dict()}


def _sharding(dmp: DistributedModelParallel) -> dict[str, str]:
    """Return ``collection.table`` -> sharding type."""
    return {
        f"{path}.{table}": of.sharding_type
        for path, sharding in dmp.plan.plan.items()
        for table, of in sharding.items()
    }

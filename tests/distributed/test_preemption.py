from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from interactrank.checkpoint.store import CheckpointStore
from interactrank.distributed.preemption import EXIT_PREEMPTED, Agreement, PreemptedError, StopSignal
from interactrank.distributed.world import current_world, process_group
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import train
from tests.ranks import run_ranks
from tests.toy import SignalledLoader, ToyLoader, ToyModel


def test_sigterm_is_noted_and_more_of_it_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert not stop.requested
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_installed() -> None:
    found = []

    def work() -> None:
        with StopSignal() as stop:
            found.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]


def test_the_exit_code_is_the_one_that_means_try_again() -> None:
    assert PreemptedError.exit_code == EXIT_PREEMPTED == os.EX_TEMPFAIL


def _agree() -> list[tuple[bool, ...]]:
    agreement, found = Agreement(), []
    for step in range(3):
        agreement.ask(dist.get_rank() == 1 and step == 1, dist.get_rank() == 0 and step == 2)
        found.append(agreement.answer())
    return found


def test_what_one_rank_says_holds_for_all() -> None:
    expected = [(False, False), (True, False), (False, True)]
    assert run_ranks(2, _agree) == [expected, expected]


def _stopped(output: str, more: dict[str, object]) -> tuple[str, str]:
    rank = current_world().rank
    settings = TrainingSettings.model_validate({"epochs": 2, "log_every": 1} | more)
    loader = SignalledLoader(rank, at=(0, 1)) if rank == 1 else ToyLoader(rank)
    try:
        train(ToyModel(), loader, settings, output)
    except PreemptedError as error:
        latest = CheckpointStore(Path(output) / "checkpoints").latest()
        return str(error), str(latest)
    return "no error", ""


@pytest.mark.parametrize(
    ("more", "step"),
    [({"pipeline": "plain"}, 3), ({"pipeline": "plain", "checkpoint_async": True}, 3), ({}, 4)],
)
def test_a_signal_to_one_rank_saves_the_same_step_on_all(
    tmp_path: Path, more: dict[str, object], step: int
) -> None:
    """Rank 1 gets the signal while it reads batch 1, in step 2, and says so when it asks before step 3.

    The overlapped pipeline reads batch 1 in step 1, and has batches 2 and 3 under way after step 2.
    """
    (first, latest), other = run_ranks(2, _stopped, str(tmp_path), more)
    assert first == f"asked to stop (SIGTERM); step {step} of 8 is saved, start it again to resume"
    assert (first, latest) == other
    assert latest.endswith(f"step_{step:010d}")


def test_a_signal_after_the_last_step_waits_for_the_checkpoint_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(store: CheckpointStore) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        wait(store)

    wait = CheckpointStore.wait
    settings = TrainingSettings(steps=2, checkpoint_async=True)
    with process_group("cpu"), monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "wait", signalled)
        assert train(ToyModel(), ToyLoader(), settings, tmp_path).step == 2
    assert (tmp_path / "checkpoints" / "step_0000000002" / "manifest.json").exists()
    assert (tmp_path / "model.safetensors").exists()

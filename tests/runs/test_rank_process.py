"""How a rank tells its error to torchrun, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from interactrank.cli import main
from interactrank.runs import rank_process
from interactrank.runs.rank_process import QUIET, record_error

COMMAND = ["train", "none.yaml", "--data", "a", "--output", "b"]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    return tmp_path / "error.json"


def test_record_error__is_what_torchrun_shows(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMMAND) == 1
    assert capsys.readouterr().err.startswith("interactrank train: cannot read 'none.yaml'")
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(target))
    assert failure.message["message"].startswith("cannot read 'none.yaml'")
    assert "py_callstack" not in failure.message["extraInfo"]  # torchrun would show that instead
    assert failure.timestamp > 0


def test_record_error__a_bug_keeps_its_traceback(target: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("a bug")
    assert not record_error(caught.value, None)
    message = json.loads(target.read_text())["message"]
    assert message["message"] == "ZeroDivisionError: a bug"
    assert "Traceback (most recent call last)" in message["extraInfo"]["py_callstack"]


def test_record_error__whole_or_not_at_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended_while_writing(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:5])
        raise KeyboardInterrupt  # as torchrun's SIGTERM would end it

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", ended_while_writing)
        with pytest.raises(KeyboardInterrupt):
            main(COMMAND)
    assert list(target.parent.iterdir()) == []


def test_record_error__a_launcher_that_shows_it_is_left_to_it(
    target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(QUIET, "1")
    assert main(COMMAND) == 1
    assert capsys.readouterr().err == ""
    assert "cannot read 'none.yaml'" in target.read_text()


def test_record_error__that_cannot_be_written_is_still_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "file" / "error.json"))  # under a file
    monkeypatch.setenv(QUIET, "1")
    assert main(COMMAND) == 1
    assert "cannot read" in capsys.readouterr().err


def test_leave__a_rank_ends_at_once_with_its_exit_code_and_all_that_it_printed() -> None:
    code = f"import atexit; from {rank_process.__name__} import leave; atexit.register(print, 'taken down'); "
    code += "print('last words'); leave(75)"
    for rank, printed in ((None, "last words\ntaken down\n"), ("0", "last words\n")):
        env = {key: value for key, value in os.environ.items() if key != "RANK"}
        env |= {} if rank is None else {"RANK": rank}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (75, printed)

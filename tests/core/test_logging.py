"""A library is silent; the command line prints its records on stderr, those of rank 0 alone."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings

import pytest
import torch.distributed
from rich.console import Console

from interactrank.core.logging import (
    ConsoleHandler,
    RankZeroFilter,
    configure_command_line,
    current_rank,
    stderr,
)
from interactrank.core.progress import progress_bar, track

logger = logging.getLogger("interactrank.tests")


def run_python(code: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **kwargs)


def test_library__prints_nothing_and_installs_a_null_handler_only() -> None:
    done = run_python(
        "import logging, warnings, interactrank; filters = list(warnings.filters)\n"
        "logging.getLogger('interactrank.x').warning('not shown')\n"
        "import interactrank.core.logging\n"
        "print([type(h).__name__ for h in logging.getLogger('interactrank').handlers])\n"
        "print(logging.getLogger().handlers, filters == warnings.filters)"
    )
    assert (done.stdout, done.stderr) == ("['NullHandler']\n[] True\n", "")


def test_library__a_program_collects_the_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="interactrank"):
        logger.info("step %d", 7)
    assert caplog.record_tuples == [("interactrank.tests", logging.INFO, "step 7")]


def test_command_line__a_program_silences_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_command_line()
    logging.getLogger("interactrank").setLevel(logging.ERROR)
    logger.warning("not shown")
    logger.error("shown")
    assert capsys.readouterr() == ("", "error: shown\n")


def test_command_line__a_line_is_not_wrapped_and_has_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    configure_command_line()
    long = "[bold]table[/] items: " + "x" * 300 + " :smile: 1.5"
    logger.info(long)
    logger.warning("%s rows are malformed", "3")
    assert capsys.readouterr() == ("", f"{long}\nwarning: 3 rows are malformed\n")


def test_command_line__a_second_call_adds_no_handler(capsys: pytest.CaptureFixture[str]) -> None:
    configure_command_line()
    configure_command_line()
    logger.info("once")
    assert capsys.readouterr().err == "once\n"
    handlers = logging.getLogger("interactrank").handlers
    assert sum(isinstance(h, ConsoleHandler) for h in handlers) == 1


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (-1, "warning: w\n"),
        (0, "i\nwarning: w\n"),
        (1, "interactrank.tests: d\ninteractrank.tests: i\nwarning: interactrank.tests: w\n"),
    ],
)
def test_command_line__verbosity(capsys: pytest.CaptureFixture[str], verbosity: int, expected: str) -> None:
    configure_command_line(verbosity)
    logger.debug("d")
    logger.info("i")
    logger.warning("w")
    assert capsys.readouterr().err == expected


def test_command_line__records_reach_no_other_handler(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure_command_line()
    logger.info("once")
    assert capsys.readouterr().err == "once\n"
    assert caplog.records == []


@pytest.mark.parametrize(("rank", "shown"), [("0", "i\nwarning: w\nerror: e\n"), ("3", "error: e\n")])
def test_command_line__other_ranks_show_errors_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rank: str, shown: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    configure_command_line()
    logger.info("i")
    logger.warning("w")
    logger.error("e")
    assert capsys.readouterr().err == shown


def test_command_line__an_ascii_terminal_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    configure_command_line()
    logger.info("test · 1")
    assert raw.getvalue() == b"test \\xb7 1\n"


def test_command_line__a_closed_pipe_ends_nothing() -> None:
    code = (
        "import logging, os; from interactrank.core.logging import configure_command_line\n"
        "configure_command_line(); logger = logging.getLogger('interactrank.x')\n"
        "read, write = os.pipe(); os.dup2(write, 2); os.close(read)\n"
        "logger.info('a'); logger.info('b'); print('goes on', flush=True)"
    )
    assert run_python(code).stdout == "goes on\n"


def test_command_line__known_warnings_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        configure_command_line()
        warnings.warn("TypedStorage is deprecated", UserWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["another"]


@pytest.mark.parametrize(("value", "rank"), [(None, 0), ("", 0), ("2", 2), ("two", 0)])
def test_current_rank__of_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, rank: int
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if value is not None:
        monkeypatch.setenv("RANK", value)
    assert current_rank() == rank


def test_current_rank__of_the_process_group_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 5)
    assert current_rank() == 5
    record = logging.LogRecord("a", logging.WARNING, "", 0, "", None, None)
    assert not RankZeroFilter().filter(record)


def test_current_rank__does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['interactrank']\n"
        "from interactrank.core.logging import current_rank; print(current_rank(), 'torch' in sys.modules)"
    )
    assert run_python(code).stdout == "0 False\n"


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    for module in ("logging", "progress"):
        monkeypatch.setattr(f"interactrank.core.{module}.stderr", lambda: console)
    return out


def test_progress__a_record_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(monkeypatch)
    configure_command_line()
    for n in track([1, 2], 2, "preparing"):
        logger.info("block %d", n)
    lines = [line.rpartition("\r")[2] for line in out.getvalue().split("\n")]
    assert sum("block 1" in line for line in lines) == 1
    assert all("preparing" not in line for line in lines if "block" in line)


def test_progress__shown_where_info_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    assert progress_bar().disable  # a library: nothing is configured
    configure_command_line()
    assert not progress_bar().disable
    logging.getLogger("interactrank").setLevel(logging.WARNING)
    assert progress_bar().disable
    configure_command_line()
    monkeypatch.setenv("RANK", "1")
    assert progress_bar().disable


def test_progress__no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_command_line()
    assert not stderr().is_terminal
    assert list(track([1, 2], 2, "preparing")) == [1, 2]
    assert capsys.readouterr().err == ""

"""The log keeps what it acknowledged, whatever ends the process or the disk."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactrank.serving.errors import RequestError
from interactrank.serving.fresh import EventLogError
from interactrank.serving.fresh.frames import decode, encode, frame, frames_in
from interactrank.serving.fresh.local_log import LocalLog


def payloads(log: LocalLog, position: int = 0) -> list[bytes]:
    return [payload for payload, _ in log.read(position)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("events-*"))


def test_records_are_read_in_order_from_any_position(tmp_path: Path) -> None:
    log = LocalLog(tmp_path)
    first = log.append(b"one")
    assert log.append(b"two") == log.end
    assert payloads(log) == [b"one", b"two"]
    assert list(log.read(first)) == [(b"two", log.end)]
    assert payloads(log, log.end) == []
    log.append(bytes(9 << 20))  # larger than what is read at a time
    assert [len(p) for p in payloads(LocalLog(tmp_path))] == [3, 3, 9 << 20]


def test_another_process_sees_what_is_appended(tmp_path: Path) -> None:
    one, other = LocalLog(tmp_path), LocalLog(tmp_path)
    one.append(b"a")
    assert other.end == one.end
    other.append(b"b")
    assert payloads(one) == [b"a", b"b"]


@pytest.mark.parametrize("cut", [1, 8, 9, 11])
def test_a_torn_tail_is_cut_with_a_message(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = LocalLog(tmp_path)
    log.append(b"whole")
    (path,) = segments(tmp_path)
    with path.open("ab") as file:
        file.write(frame(b"torn")[:cut])
    with caplog.at_level(logging.WARNING, "interactrank"):
        again = LocalLog(tmp_path)
    assert f"cut {cut} bytes of a record that was not finished" in caplog.text
    assert payloads(again) == [b"whole"]
    again.append(b"next")
    assert payloads(LocalLog(tmp_path)) == [b"whole", b"next"]


def test_a_tail_of_a_killed_neighbour_is_cut_by_the_next_write(tmp_path: Path) -> None:
    log = LocalLog(tmp_path)
    log.append(b"whole")
    with segments(tmp_path)[0].open("ab") as file:
        file.write(frame(b"kept") + b"\7\0\0")  # it died before it told the end
    log.append(b"next")
    assert payloads(log) == [b"whole", b"kept", b"next"]


def test_a_machine_that_fell_over_may_have_forgotten_the_end(tmp_path: Path) -> None:
    log = LocalLog(tmp_path)
    log.append(b"one")
    log.append(b"two")
    (tmp_path / "end").write_bytes(bytes(8))
    assert payloads(LocalLog(tmp_path)) == [b"one", b"two"]


def test_damage_of_what_was_acknowledged_is_not_cut(tmp_path: Path) -> None:
    log = LocalLog(tmp_path)
    log.append(b"one")
    log.append(b"two")
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    with pytest.raises(EventLogError, match="is damaged at byte 0: a record that was acknowledged"):
        LocalLog(tmp_path)
    with pytest.raises(EventLogError, match="is damaged at byte 0"):
        payloads(log)
    assert path.read_bytes() == data


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_full_disk_is_an_error_and_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log = LocalLog(tmp_path)
    log.append(b"before")
    real = os.pwrite
    written: list[int] = []

    def full(descriptor: int, *data: Any) -> int:
        if call == "pwrite" and not written:
            written.append(real(descriptor, bytes(data[0])[:5], data[1]))  # a part fits
            return written[0]
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(
            EventLogError,
            match=r"cannot be written; the events count nowhere \(No space left on device\); make",
        ):
            log.append(b"lost")
    assert payloads(log) == [b"before"]
    log.append(b"after")
    assert payloads(LocalLog(tmp_path)) == [b"before", b"after"]


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventLogError, match="cannot be opened"):
        LocalLog(tmp_path / "file")


def test_threads_share_flushes_and_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LocalLog(tmp_path)
    flushes = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (flushes.append(fd), real(fd))[1])
    with ThreadPoolExecutor(8) as threads:
        stops = list(threads.map(lambda n: log.append(str(n).encode()), range(200)))
    found = {int(payload): stop for payload, stop in log.read(0)}
    assert found == dict(enumerate(stops))
    assert len(flushes) <= 200


def test_segments_follow_each_other_and_are_deleted_when_they_are_covered(tmp_path: Path) -> None:
    log = LocalLog(tmp_path, segment_bytes=40)
    stops = [log.append(bytes([n]) * 20) for n in range(7)]
    assert len(segments(tmp_path)) == 4
    assert payloads(log) == [bytes([n]) * 20 for n in range(7)]
    assert log.truncate(stops[4]) == 2
    assert log.first() == stops[3]
    assert payloads(LocalLog(tmp_path), stops[3]) == [bytes([n]) * 20 for n in range(4, 7)]
    with pytest.raises(EventLogError, match="records from 0 on were deleted, as a newer export has them"):
        payloads(log)
    assert log.truncate(log.end) == 1  # the last one stays
    assert log.append(b"next") == stops[-1] + 12
    assert payloads(LocalLog(tmp_path), stops[-1]) == [b"next"]


def test_a_mark_is_where_the_log_ended_when_an_export_was_first_opened(tmp_path: Path) -> None:
    log = LocalLog(tmp_path)
    assert log.mark("a") == 0
    log.append(b"one")
    assert [log.mark("a"), log.mark("b")] == [0, log.end]
    assert LocalLog(tmp_path).mark("a") == 0


WRITER = """
import sys
from pathlib import Path
from interactrank.serving.fresh.local_log import LocalLog
log = LocalLog(Path(sys.argv[1]), segment_bytes=5000)
for n in range(int(sys.argv[2]), 10**9):
    log.append(b"%d " % n * 40)
    print(n, flush=True)
"""


@pytest.mark.slow  # a process that imports the package
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    acknowledged = -1
    for round_ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged + 1)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged >= 100 * (round_ + 1):
                break
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        acknowledged = max([acknowledged, *map(int, rest)])
        found = [int(payload.split()[0]) for payload in payloads(LocalLog(tmp_path))]
        assert found[: acknowledged + 1] == list(range(acknowledged + 1))
        assert len(found) <= acknowledged + 2  # at most the one that was on its way
        acknowledged = len(found) - 1


def test_frames_end_at_what_is_none() -> None:
    data = frame(b"one") + frame(b"two")
    assert [p for p, _ in frames_in(data + bytes(20))] == [b"one", b"two"]
    assert [p for p, _ in frames_in(data, len(frame(b"one")))] == [b"two"]


def test_columns_become_json_and_back() -> None:
    columns = {"a": ["x", None], "b": [np.int64(7), np.array([1.5])], "t": [datetime(2024, 1, 2), 3]}
    assert decode(encode(columns)) == {"a": ["x", None], "b": [7, [1.5]], "t": ["2024-01-02T00:00:00", 3]}
    with pytest.raises(RequestError, match="a value of the type object; give text, numbers, times"):
        encode({"a": [object()]})

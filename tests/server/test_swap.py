"""A new version answers once it is proven; one that is not leaves the old one answering."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from interactrank.core.manifest import Manifest
from interactrank.server.app import make_app
from interactrank.server.served import Served
from interactrank.server.settings import Limits
from interactrank.server.swap import RecordedRequest, Recorder, stamp_of
from interactrank.serving import PreRanker
from interactrank.serving.artifact import Version, current_name, publish, version_folder
from tests.server.conftest import HERE, settings_of
from tests.serving.exported import Exported, export_again

REQUEST = {"query": "red", "hour": None, "query_vector": None}


@pytest.fixture
def artifact(made: Exported, tmp_path: Path) -> Path:
    shutil.copytree(made.artifact, tmp_path / "artifact")
    return tmp_path / "artifact"


def copied(artifact: Path, name: str, change: Callable[[Path], None], **facts: object) -> str:
    """Publish a copy of the current version with a change that its manifest does not know."""
    folder = version_folder(artifact, name)
    shutil.copytree(version_folder(artifact, str(current_name(artifact))), folder)
    manifest = Manifest.read(folder)
    Manifest({**manifest.facts, **facts}, manifest.files).write(folder, seal=True)
    change(folder)
    publish(artifact, name)
    return name


def test_a_new_version_is_switched_to(made: Exported, artifact: Path) -> None:
    served = Served("main", artifact, Limits())
    before = served.opened
    assert not served.is_behind()
    version = export_again(made, artifact, precision="float16")
    assert served.is_behind()
    assert served.swap() == "done"
    assert (served.opened.version, served.refused) == (version.name, None)
    assert not served.is_behind()
    assert before.ranker.rank(REQUEST).ids  # a request that began with the old one ends with it
    publish(artifact, version.name)
    assert served.is_behind()
    assert served.swap() == "same"


def corrupt(folder: Path) -> None:
    path = folder / "vectors" / "vectors"
    data = bytearray(path.read_bytes())
    data[5] ^= 0xFF
    path.write_bytes(data)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def not_numbers(folder: Path) -> None:
    path = folder / "vectors" / "vectors"
    np.full(path.stat().st_size // 4, np.nan, np.float32).tofile(path)
    manifest = Manifest.read(folder)
    files = {name: of for name, of in Manifest.of(folder, {}).files.items() if name != "manifest.json"}
    Manifest(manifest.facts, files).write(folder, seal=True)


@pytest.mark.parametrize(
    ("change", "facts", "reason"),
    [
        (corrupt, {}, "vectors' has changed since it was written"),
        (cut, {}, "model.safetensors' has .* bytes instead of"),
        (not_numbers, {}, "gives no item a score that is a number"),
        (lambda folder: (folder / "manifest.json").unlink(), {}, "is not a complete export"),
        (lambda folder: None, {"event_time": 5}, "ends at 5, before '.*' that is served .*; restart"),
        (lambda folder: None, {"artifact_format": 99}, "has format 99"),
    ],
)
def test_a_version_that_must_not_answer_is_refused(
    artifact: Path, change: Callable[[Path], None], facts: dict[str, object], reason: str
) -> None:
    served = Served("main", artifact, Limits())
    before = served.opened
    expected = before.ranker.rank(REQUEST)
    copied(artifact, "20990101T000000-00000000", change, **facts)
    assert served.swap() == "refused"
    assert served.opened is before
    assert not served.is_behind()  # it is not tried at each look
    assert served.refused is not None
    assert re.search(reason, served.refused), served.refused
    assert before.ranker.rank(REQUEST).ids == expected.ids
    publish(artifact, before.version)
    assert served.swap() == "same"
    assert served.refused is None


def test_a_version_that_was_damaged_is_tried_again_when_it_is_published_again(artifact: Path) -> None:
    served = Served("main", artifact, Limits())
    name = copied(artifact, "20990101T000000-00000001", corrupt)
    assert served.swap() == "refused"
    corrupt(version_folder(artifact, name))  # the same bits again: it is whole
    publish(artifact, name)
    assert served.is_behind()
    assert served.swap() == "done"
    assert served.opened.version == name


def test_an_export_that_is_gone_for_a_moment_changes_nothing(artifact: Path) -> None:
    served = Served("main", artifact, Limits())
    (artifact / "current.json").rename(artifact / "away")
    assert stamp_of(artifact) is None
    assert not served.is_behind()
    (artifact / "current.json").write_text("{")
    assert not served.is_behind()


def test_recorded_requests_warm_the_next_version(
    artifact: Path, made: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served("main", artifact, Limits())
    served.recorder.keep(RecordedRequest(REQUEST | {"query": "recorded"}, ["i1", "i2"], None))
    served.recorder.keep(RecordedRequest({"column of another schema": 1}, None, None))
    ranked: list[object] = []
    rank = PreRanker.rank

    def spy(self: PreRanker, request: dict[str, object], *rest: object, **more: object) -> object:
        ranked.append((self.version.name, request.get("query")))
        return rank(self, request, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(PreRanker, "rank", spy)
    version: Version = export_again(made, artifact, precision="float16")
    assert served.swap() == "done"
    assert ranked == [(version.name, "recorded"), (version.name, None)]


def test_what_is_recorded_is_bounded() -> None:
    recorder = Recorder()
    recorder.keep(RecordedRequest({}, ["i"] * 1001, None))
    assert recorder.requests() == []
    for n in range(100):
        recorder.keep(RecordedRequest({"query": str(n)}, None, None))
    assert [of.request["query"] for of in recorder.requests()] == [str(n) for n in range(84, 100)]


def test_the_service_looks_by_itself(made: Exported, artifact: Path) -> None:
    with TestClient(make_app(settings_of(artifact, poll_ms=10)), base_url=HERE) as client:
        first = client.post("/rank", json={"request": REQUEST}).json()
        version = export_again(made, artifact, precision="float16")
        deadline = time.monotonic() + 60
        while client.get("/version").json()["models"]["main"]["version"] != version.name:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = client.post("/rank", json={"request": REQUEST}).json()
        assert (first["version"], second["version"]) == (Version.current(made.artifact).name, version.name)
        copied(artifact, "20990101T000000-00000000", corrupt)
        while client.get("/version").json()["models"]["main"]["refused"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert client.post("/rank", json={"request": REQUEST}).json()["version"] == version.name
        metrics = client.get("/metrics").text
        assert 'interactrank_swaps_total{model="main",result="done"} 1.0' in metrics
        assert 'interactrank_swaps_total{model="main",result="refused"} 1.0' in metrics

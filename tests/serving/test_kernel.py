"""The kernel is built once, and PyTorch does its work where it cannot be built."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from interactrank.core.compiled import OFF
from interactrank.serving import kernel as module
from interactrank.serving.item_vectors import ItemVectors
from interactrank.serving.kernel import kernel
from interactrank.serving.selection import top_k


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no kernel yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel.cache_clear()
    yield tmp_path / "interactrank"
    kernel.cache_clear()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_it_is_built_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel() is not None
    (built,) = fresh.iterdir()
    before = built.stat().st_mtime_ns
    kernel.cache_clear()
    assert kernel() is not None
    assert built.stat().st_mtime_ns == before


def test_it_leaves_the_arithmetic_of_the_process_alone() -> None:
    kernel()
    tiny = torch.finfo(torch.float32).tiny
    assert (torch.tensor([tiny]) / 2).item() > 0  # a subnormal number; -ffast-math would make it 0


def test_without_a_compiler(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.INFO, logger="interactrank"):
        assert kernel() is None
    assert "there is no C++ compiler 'no-such-compiler'; install g++" in caplog.text
    vectors = ItemVectors.of(torch.eye(3).numpy(), "int8")
    assert vectors.dots(torch.tensor([1.0, 2.0, 3.0])).argmax() == 2
    assert top_k(torch.tensor([1.0, 3.0, 2.0]), 2).tolist() == [1, 2]


def test_a_source_that_does_not_compile(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is not C++")
    monkeypatch.setattr(module, "_SOURCE", broken)
    assert kernel() is None
    assert not list(fresh.glob("*.so"))


def test_it_can_be_turned_off(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFF, "1")
    assert kernel() is None

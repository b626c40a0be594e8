"""Everything that will fail is said before the training."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interactrank.core.extras import MissingExtraError
from interactrank.core.settings import ConfigError
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.runs.checks import check_before_start, check_before_training
from interactrank.runs.datasets import prepare_dataset
from tests.trained import config, raw_log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_log(tmp_path_factory.mktemp("checks") / "log")


def dataset(log: Path, output: Path, *overrides: str) -> PreparedDataset:
    prepare_dataset(config(*overrides), log, output)
    return PreparedDataset(output)


def test_check_before_start__neither_log_nor_simulation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no section simulate; give a log with --data"):
        check_before_start(config(), None, tmp_path)
    with pytest.raises(DatasetError, match=r"'.*none' does not exist; name the log with --data"):
        check_before_start(config(), tmp_path / "none", tmp_path)


@pytest.mark.parametrize(
    ("package", "overrides", "extra"),
    [
        ("torchx", ("ranks=2",), "launch"),
        ("tensorboard", ("training.tensorboard=true",), "report"),
        ("duckdb", (), "data"),
        ("bm25s", (), "data"),
    ],
)
def test_check_before_start__a_missing_package_gives_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, overrides: tuple[str, ...], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'interactrank\[{extra}\]'"):
        check_before_start(config(*overrides), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_check_before_start__without_matplotlib_only_pictures_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    check_before_start(config("ranks=1"), tmp_path, tmp_path / "out")
    assert "no pictures: 'matplotlib' is not installed" in caplog.text


def test_check_before_start__an_output_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"it is a file, name another output: '.*file'"):
        check_before_start(config(), tmp_path, tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written, name another output"):
        check_before_start(config(), tmp_path, tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()


def test_check_before_training__a_split_without_requests(log: Path, tmp_path: Path) -> None:
    base = config("prepare.split.test_share=0")
    data = dataset(log, tmp_path / "prepared", "prepare.split.test_share=0")
    with pytest.raises(DatasetError, match=r"no test requests to evaluate on; see prepare\.split"):
        check_before_training(base, data, [("interactrank", base)])


def test_check_before_training__more_ranks_than_requests(log: Path, tmp_path: Path) -> None:
    data, wide = dataset(log, tmp_path / "prepared"), config("ranks=1000")
    with pytest.raises(DatasetError, match="fewer than the 1000 ranks"):
        check_before_training(wide, data, [("interactrank", wide)])
    other = config("training.validate_every=1")
    check_before_training(config(), data, [("interactrank", config()), ("early_interaction", other)])

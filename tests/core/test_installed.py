"""Versions that a result depends on, read without importing anything."""

from __future__ import annotations

from importlib import metadata

import pytest

from interactrank.core import installed
from interactrank.core.installed import installed_versions, version_of


def test_installed_versions__name_the_trio() -> None:
    found = installed_versions()
    assert all(found[name] != "missing" for name in ("torch", "torchrec", "fbgemm", "python"))


def test_installed_versions__of_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "_DISTRIBUTIONS", {"numpy": ("no-such-distribution",)})
    assert installed_versions()["numpy"] == "missing"


def test_version_of__the_first_that_is_installed() -> None:
    assert version_of("no-such-distribution", "numpy", "torch") == metadata.version("numpy")

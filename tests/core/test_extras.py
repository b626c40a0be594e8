import sys

import pytest

from interactrank.core.extras import MissingExtraError, require


def test_returns_the_submodule_asked_for():
    assert require("os.path", "report").join("a", "b") == "a/b"


def test_a_missing_package_gives_the_pip_line():
    with pytest.raises(MissingExtraError, match=r"pip install 'interactrank\[report\]'") as error:
        require("not_there.pyplot", "report")
    assert (error.value.package, error.value.extra) == ("not_there", "report")
    assert isinstance(error.value, ImportError)


def test_a_broken_package_is_not_reported_as_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import a_dependency_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_dependency_that_is_missing") as error:
        require("broken_package", "report")
    assert not isinstance(error.value, MissingExtraError)
    assert "broken_package" not in sys.modules

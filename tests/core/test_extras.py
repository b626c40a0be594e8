import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from interactrank.core import extras
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


@pytest.mark.parametrize("loaded", [False, True])
def test_bm25s_does_not_start_jax_which_would_keep_most_of_a_gpus_memory(tmp_path, monkeypatch, loaded):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(x, k): raise RuntimeError('JAX was started')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] in ("bm25s", "jax")]:
        monkeypatch.delitem(sys.modules, name)
    if loaded:
        importlib.import_module("jax.lax")
    assert require("bm25s", "data").selection.JAX_IS_AVAILABLE is False
    assert ("jax.lax" in sys.modules) is loaded
    assert sys.modules.get("jax", 0) is not None
    for name in ("jax", "jax.lax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_bm25s_starts_jax_when_it_can(tmp_path, monkeypatch):
    """If this fails, bm25s leaves JAX alone, and hiding it can go."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(x, k): raise ValueError('JAX was started')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] in ("bm25s", "jax")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ValueError, match="JAX was started"):
        importlib.import_module("bm25s")
    for name in ("jax", "jax.lax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_require__hides_and_shows_again_for_several_threads(monkeypatch):
    """While one thread imports what hides a module, another waits; both leave the module absent."""
    monkeypatch.setitem(extras._HIDDEN, "json", ("a_module_to_hide",))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: extras.require("json", "data").dumps([1]), range(200)))
    assert found == ["[1]"] * 200
    assert "a_module_to_hide" not in sys.modules

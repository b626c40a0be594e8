"""Which errors the command line prints as one line, and that all of them are in the drawn tree."""

import importlib
import pkgutil
import re

import pytest

import interactrank
from interactrank.checkpoint import CheckpointError, WeightsError
from interactrank.cli import main
from interactrank.core import errors
from interactrank.core.errors import USER_ERRORS, UserError
from interactrank.core.extras import MissingExtraError
from interactrank.core.settings import ConfigError
from interactrank.core.versions import IncompatibleVersionsError
from interactrank.data.errors import DatasetError
from interactrank.distributed import RankError
from interactrank.runs.launch import LaunchError
from interactrank.training import NonFiniteLossError


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (CheckpointError, ValueError),
        (ConfigError, ValueError),
        (IncompatibleVersionsError, ImportError),
        (LaunchError, RuntimeError),
        (DatasetError, ValueError),
        (MissingExtraError, ImportError),
        (NonFiniteLossError, RuntimeError),
        (RankError, RuntimeError),
        (WeightsError, ValueError),
        (FileNotFoundError, OSError),
    ],
)
def test_errors_of_the_user(error, also):
    assert issubclass(error, USER_ERRORS)
    assert issubclass(error, also)


def test_bugs_keep_their_traceback():
    assert not issubclass(ValueError, USER_ERRORS)
    assert not issubclass(OSError, USER_ERRORS)


def test_command_line_prints_one_line(capsys):
    assert main(["run", "no_such.yaml"]) == 1
    assert (
        capsys.readouterr().err == "interactrank run: cannot read 'no_such.yaml': No such file or directory\n"
    )


def _descendants(kind):
    return {kind} | {below for child in kind.__subclasses__() for below in _descendants(child)}


def _drawn():
    """Name -> name of the parent, by the indentation of the drawing."""
    parents, found = [], {}
    for indent, name in re.findall(r"^((?:    )+)(\w+Error)\b", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        del parents[depth - 1 :]
        found[name] = parents[-1] if parents else None
        parents.append(name)
    return found


def test_tree__draws_every_error_under_its_parent():
    for module in pkgutil.walk_packages(interactrank.__path__, "interactrank."):
        importlib.import_module(module.name)
    ours = [e for e in _descendants(UserError) if e.__module__.startswith("interactrank.")]
    real = {e.__name__: next((b.__name__ for b in e.__mro__[1:] if b in ours), None) for e in ours}
    assert _drawn() == real


def test_tree__names_end_in_error_in_the_order_of_the_alphabet():
    names = [name for name, parent in _drawn().items() if parent == "UserError"]
    assert names == sorted(names)


def test_tree__each_error_is_of_a_built_in_kind_too():
    """So that ``except ValueError`` of a library's user works."""
    for error in _descendants(UserError) - {UserError}:
        assert issubclass(error, (ValueError, RuntimeError, ImportError, KeyError, OSError)), error

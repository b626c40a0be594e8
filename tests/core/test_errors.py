"""Which errors the command line prints as one line."""

import pytest

from interactrank.checkpoint import CheckpointError, WeightsError
from interactrank.cli import main
from interactrank.core.errors import USER_ERRORS
from interactrank.core.extras import MissingExtraError
from interactrank.core.settings import ConfigError
from interactrank.core.versions import IncompatibleVersionsError
from interactrank.data.errors import DatasetError
from interactrank.distributed import RankError
from interactrank.runs.launch import LaunchError
from interactrank.training import NonFiniteLoss


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (CheckpointError, ValueError),
        (ConfigError, ValueError),
        (IncompatibleVersionsError, ImportError),
        (LaunchError, RuntimeError),
        (DatasetError, ValueError),
        (MissingExtraError, ImportError),
        (NonFiniteLoss, RuntimeError),
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

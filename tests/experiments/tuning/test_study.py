"""The journal of a tuning: a study that was stopped goes on with what it would have tried."""

from pathlib import Path

import pytest

from interactrank.core.search_space import Range
from interactrank.experiments.tuning.space import Dimension
from interactrank.experiments.tuning.study import Study, Trial

RATE = Dimension("lr", (("lr",),), Range(low=0.001, high=1, log=True), whole=False)
EPOCHS = Dimension("epochs", (("epochs",),), Range(low=1, high=9), whole=True)
DIMS = Dimension("dims", (("dims",),), [[8], [16, 8]], whole=False)


def study(folder: Path, given: dict[str, object] | None = None) -> Study:
    given = {"lr": 0.1, "epochs": 2, "dims": [8]} if given is None else given
    return Study(folder, [RATE, EPOCHS, DIMS], maximize=True, seed=3, given=given)


def value(trial: Trial) -> float:
    return -abs(trial.settings["epochs"] - 5) - abs(trial.settings["lr"] - 0.2)


def tell(of: Study, trials: int) -> list[Trial]:
    found = []
    for _ in range(trials):
        found.append(of.next())
        of.tell(found[-1], value(found[-1]))
    return found


def test_the_first_trial_is_the_config_as_it_is(tmp_path: Path) -> None:
    first = study(tmp_path).next()
    assert first == Trial(0, {"lr": 0.1, "epochs": 2, "dims": [8]})


def test_what_is_not_in_its_range_is_drawn(tmp_path: Path) -> None:
    first = study(tmp_path, {"lr": 7.0, "epochs": 2, "dims": None}).next()
    assert first.settings["epochs"] == 2
    assert 0.001 <= first.settings["lr"] <= 1
    assert first.settings["dims"] in ([8], [16, 8])


def test_a_study_that_is_opened_again_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = tell(study(tmp_path / "whole"), 16)
    parts = tell(study(tmp_path / "parts"), 5)
    again = study(tmp_path / "parts")
    running = again.next()  # ... and the process is killed
    again = study(tmp_path / "parts")
    assert again.finished() == parts
    assert again.next() == running
    parts += tell(again, 4)
    parts += tell(study(tmp_path / "parts"), 7)
    assert parts == whole
    assert len({str(trial.settings) for trial in whole}) == 16


def test_trials_without_a_value_end_nothing(tmp_path: Path) -> None:
    of = study(tmp_path)
    of.tell(of.next(), None, diverged=True)
    of.tell(of.next(), None)
    tell(of, 3)
    assert [trial.number for trial in study(tmp_path).finished()] == [0, 1, 2, 3, 4]


def test_importance__is_that_of_what_the_value_depends_on(tmp_path: Path) -> None:
    of = study(tmp_path)
    tell(of, 4)
    assert of.importance() == {}
    tell(of, 36)
    shares = of.importance()
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda key: shares[key]) == "epochs"

"""Kinds of one's own: what is refused when they are registered, named in YAML, tried and computed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from interactrank.core.registry import RegistryError
from interactrank.core.settings import ConfigError
from interactrank.cross_features import (
    CrossFeature,
    CrossFeatureError,
    CrossFeatureSettings,
    EngagementRows,
    Found,
    LoggedRequests,
    Lookup,
    Rate,
    check_feature,
    features_of,
    register,
)
from interactrank.cross_features.registry import KINDS
from interactrank.data import DatasetError, PreparedDataset
from interactrank.schema.cross_features import SETTINGS
from tests.data.logs import event, item, minimal, prepared, schema
from tests.own_feature import HoursSince, HoursSinceSettings


class WrongSettings(CrossFeatureSettings):
    kind: Literal["wrong"] = "wrong"


class Wrong(CrossFeature[WrongSettings]):
    """A feature of no store, whose class attributes tests replace."""

    Settings = WrongSettings
    found = Found(np.zeros(1))

    def look_up(self, lookup: Lookup, store: Any) -> Found:
        return self.found


@pytest.fixture
def wrong() -> Iterator[None]:
    register("wrong", Wrong)
    yield
    KINDS.remove("wrong")
    SETTINGS.remove("wrong")


@pytest.mark.parametrize("kind", ["iqp", "hours_since"])
def test_register__a_kind_that_is_taken(kind: str) -> None:
    with pytest.raises(RegistryError, match=f"'{kind}' is registered already"):
        register(kind, Wrong)


def test_register__a_name_that_is_none() -> None:
    with pytest.raises(RegistryError, match="'Hours Since': a name is lower-case letters"):
        register("Hours Since", Wrong)


def test_register__classes_that_are_no_feature() -> None:
    class Abstract(CrossFeature[WrongSettings]):
        Settings = WrongSettings

    class Bare(Wrong):
        Settings = dict  # type: ignore[assignment]

    for feature, message in (
        (dict, "<class 'dict'> is not a subclass of CrossFeature"),
        (Abstract, "Abstract must define look_up"),
        (Bare, "Bare.Settings is <class 'dict'>; it must be a subclass of CrossFeatureSettings"),
    ):
        with pytest.raises(CrossFeatureError, match=f"cross feature 'odd': {message}"):
            register("odd", feature)  # type: ignore[arg-type]
    assert "odd" not in KINDS


def test_yaml__an_unknown_kind_and_a_wrong_key_of_ones_own() -> None:
    with pytest.raises(
        ConfigError, match=r"cross_features.0: no kind 'hours_sinse' .* did you mean 'hours_since'"
    ):
        minimal("cross_features=[{kind: hours_sinse}]")
    with pytest.raises(ConfigError, match=r"cross_features.0: longst: unknown key; did you mean 'longest'\?"):
        minimal("cross_features=[{kind: hours_since, longst: 3}]")
    with pytest.raises(ConfigError, match="'hours_since' is defined more than once"):
        minimal("cross_features=[{kind: hours_since}, {kind: hours_since}]")


def test_features_of__two_kinds_with_one_store(wrong: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong, "store", "hours_since-click")
    two = minimal("cross_features=[{kind: hours_since}, {kind: wrong}]")
    with pytest.raises(
        CrossFeatureError, match="the store 'hours_since-click' belong to the kind 'hours_since'"
    ):
        features_of(two)


@pytest.mark.parametrize(
    ("found", "column", "message"),
    [
        (Found(np.zeros((20, 2))), None, r"its values must be \[20\] .*, found an array of shape \[20, 2\]"),
        (
            Found(np.zeros(20)),
            Rate(),
            r"its support must be \[4\] \(\[R\], a count for each request\), found None",
        ),
        (Found(np.full(20, np.nan)), None, "its values must be finite, found nan; say Number"),
        (Found(np.full(20, 2.0), np.ones(4)), Rate(), r"its values must be in 0\.\.1, as rates are, found 2"),
        (Found(np.zeros(20), np.full(4, -1.0)), Rate(), "its support must be 0 or more and finite"),
    ],
)
def test_prepare__a_wrong_feature_is_refused_before_the_log_is_read(
    wrong: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Found, column: Any, message: str
) -> None:
    monkeypatch.setattr(Wrong, "found", found)
    monkeypatch.setattr(Wrong, "column", column or Wrong.column)
    # Neither of the columns that the log lacks is noticed, as the log has not been opened.
    with pytest.raises(CrossFeatureError, match=f"cross feature 'wrong': {message}"):
        prepared(tmp_path, [{"no": 1}], [{"column": 2}], schema=minimal("cross_features=[{kind: wrong}]"))


def test_check_feature__what_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    feature = HoursSince(HoursSinceSettings())
    check_feature(feature, schema())
    rows = HoursSince.rows

    def at_the_request(self: HoursSince, requests: LoggedRequests) -> EngagementRows:
        found = rows(self, requests)
        return found._replace(time=np.minimum(found.time, requests.facts.time.min()))

    monkeypatch.setattr(HoursSince, "rows", at_the_request)
    with pytest.raises(CrossFeatureError, match="values change with engagements at or after the request"):
        check_feature(feature, schema())


def test_check_feature__what_depends_on_the_other_candidates(
    wrong: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Wrong,
        "look_up",
        lambda self, lookup, store: Found(np.full(lookup.num_candidates, lookup.num_candidates)),
    )
    with pytest.raises(CrossFeatureError, match="a candidate's number depends on the other candidates"):
        check_feature(Wrong(WrongSettings()), schema())


def test_dataset__says_which_module_registers_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event("r", "u", "q", "a", 0, click=1), event("s", "u", "q", "a", 90, click=1)]
    wanted = minimal("cross_features=[{kind: hours_since}]", "events.user=user_id")
    dataset = prepared(
        tmp_path,
        events,
        [item("a")],
        schema=wanted,
        settings={"split": {"validation_share": 0, "test_share": 0}},
    )
    hours = dataset.read("train", ["cross.number"])["cross.number"].to_pylist()
    # The second request is 90 minutes after the first click; nothing was clicked before the first.
    assert np.isnan(hours[0][0])
    assert hours[1] == [1.5]
    monkeypatch.setattr(HoursSince, "format", 2)
    with pytest.raises(
        DatasetError, match="stores of the kind 'hours_since' in format 1, not 2; prepare the log"
    ):
        PreparedDataset(dataset.folder)
    monkeypatch.undo()
    KINDS.remove("hours_since")
    try:
        with pytest.raises(
            DatasetError, match=r"kind 'hours_since', which 'tests.own_feature' registers; import"
        ):
            PreparedDataset(dataset.folder)
    finally:
        KINDS.add("hours_since", HoursSince)


@pytest.mark.slow
def test_example__the_feature_helps() -> None:
    example = Path(__file__).parents[2] / "examples" / "06_own_cross_feature.py"
    lines = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    without, with_it = (float(line.split()[-1]) for line in lines[-2:])
    assert without < 0.6 < 0.65 < with_it

"""Settings of prepare and the loader."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from interactrank.core.settings import ConfigError, parse_config
from interactrank.data.settings import PrepareSettings, SplitSettings, parse_moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01 00:00:01.5", 1500),
        ("1970-01-01T02:00:00+02:00", 0),
        ("2011-10-17", 1318809600000),  # date -u -d 2011-10-17 +%s
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert parse_moment(text) == expected


def test_dates_need_no_quotes_in_yaml() -> None:
    values = yaml.safe_load("{train_from: 2011-01-01, split: {test_from: 2011-10-17 06:00:00}}")
    settings = parse_config(PrepareSettings, values)
    assert settings.train_from == "2011-01-01"
    assert settings.split.test_from == "2011-10-17T06:00:00"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"test_from": "soon"},
            "test_from: 'soon' is not a date; write it like 2011-10-17 or 2011-10-17T06:00:00",
        ),
        ({"test_from": 2011}, "test_from: input should be a valid string, found 2011; put it in quotes"),
        ({"validation_from": "2011-01-01"}, "validation_from needs test_from, where validation ends"),
        (
            {"validation_from": "2011-02-01", "test_from": "2011-01-01"},
            "validation_from 2011-02-01 is after test_from 2011-01-01; validation comes first",
        ),
        (
            {"test_from": "2011-01-01", "test_share": 0.2},
            "test_share has no effect with test_from; give dates or shares, not both",
        ),
        (
            {"validation_share": 0.5, "test_share": 0.5},
            "validation_share + test_share must leave requests to train on",
        ),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(SplitSettings, values)
    assert str(error.value) == f"config: 1 problem\n  - {message}"

"""Settings from YAML: all mistakes at once, near names, overrides."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, field_validator

from interactrank.core.settings import Config, ConfigError, Name, near, parse_config


class Leaf(Config):
    name: str
    size: int = Field(1, ge=1)
    kind: Literal["round", "square"] = "round"

    def problems(self) -> list[str]:
        return [f"'{self.name}' is square and large"] if self.kind == "square" and self.size > 3 else []


class Range(Config):
    low: int = 0
    high: int = 1

    def problems(self) -> list[str]:
        return [f"low {self.low} is above high {self.high}"] if self.low > self.high else []


class Root(Config):
    first: Leaf = Field(alias="start")
    leaves: list[Leaf] = Field(min_length=1)
    by_name: dict[str, Leaf] = Field(default_factory=dict)
    range: Range = Range()
    share: float | None = None
    favourite: str | None = None

    def problems(self) -> list[str]:
        known = [leaf.name for leaf in self.leaves]
        if self.favourite is not None and self.favourite not in known:
            return [f"favourite: no leaf '{self.favourite}'{near(self.favourite, known)}"]
        return []


GOOD: dict[str, Any] = {
    "start": {"name": "a"},
    "leaves": [{"name": "oak"}, {"name": "elm", "size": 2}],
    "favourite": "oak",
}


def mistakes(values: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(Root, values, "test.yaml")
    head, *lines = str(error.value).split("\n")
    assert head == f"test.yaml: {len(lines)} problem{'s' * (len(lines) > 1)}"
    return [line.removeprefix("  - ") for line in lines]


def test_good_values_are_parsed_and_left_unchanged() -> None:
    before = repr(GOOD)
    assert parse_config(Root, GOOD).leaves[1].size == 2
    assert repr(GOOD) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"leafs": []}, ["leafs: unknown key; did you mean 'leaves'?"]),
        (
            {"qqqq": 1},
            ["qqqq: unknown key; allowed: start, leaves, by_name, range, share, favourite"],
        ),
        ({"start": {"name": "a", "siz": 2}}, ["start.siz: unknown key; did you mean 'size'?"]),
        (
            {"by_name": {"x": {"name": "x", "kidn": "round"}}},
            ["by_name.x.kidn: unknown key; did you mean 'kind'?"],
        ),
        ({"start": {}}, ["start.name: required, but missing"]),
        (
            {"start": {"name": "a", "size": 0}},
            ["start.size: input should be greater than or equal to 1, found 0"],
        ),
        (
            {"start": {"name": "a", "kind": "squar"}},
            ["start.kind: input should be 'round' or 'square', found 'squar'; did you mean 'square'?"],
        ),
        (
            {"leaves": []},
            # and not that there is no leaf 'oak': nobody knows which leaves were meant
            ["leaves: list should have at least 1 item after validation, not 0, found []"],
        ),
        (
            {"leaves": [{"name": "oak"}, {"size": 2}]},
            ["leaves.1.name: required, but missing"],
        ),
        (
            {"leaves": ["oak"]},  # and not that the list is empty
            ["leaves.0: input should be a valid dictionary or instance of Leaf, found 'oak'"],
        ),
        ({"favourite": "oka"}, ["favourite: no leaf 'oka'; did you mean 'oak'?"]),
        ({"favourite": "zz"}, ["favourite: no leaf 'zz'; allowed: oak, elm"]),
        (
            {"start": {"name": "a", "size": 4, "kind": "square"}},
            ["start: 'a' is square and large"],
        ),
        ({"range": {"low": 2}}, ["range: low 2 is above high 1"]),
        ({"share": float("nan")}, ["share: input should be a finite number, found nan"]),
        ({"share": float("-inf")}, ["share: input should be a finite number, found -inf"]),
        ({"share": True}, ["share: input should be a number, found True"]),  # YAML's `yes`
        (
            {"start": {"name": False}},
            ["start.name: input should be a valid string, found False; put it in quotes"],
        ),
        ({"start": {"name": 7}}, ["start.name: input should be a valid string, found 7; put it in quotes"]),
        (
            {"start": {"name": "a", "size": 1.5}},
            ["start.size: input should be a valid integer, got a number with a fractional part, found 1.5"],
        ),
        (
            {"by_name": {3: {"name": "x"}}},
            ["by_name.3: input should be a valid string, found 3; put it in quotes"],
        ),
        ({3: 1}, ["3: unknown key; allowed: start, leaves, by_name, range, share, favourite"]),
    ],
)
def test_each_mistake_alone(change: dict[str, Any], expected: list[str]) -> None:
    assert mistakes({**GOOD, **change}) == expected


def test_first_pass__all_wrong_values_and_keys_at_once() -> None:
    values = {
        "start": {"name": "a", "size": "many"},
        "leaves": [{"name": "oak", "size": -1}, {"name": "big", "size": 9, "kind": "square"}],
        "range": {"low": 3, "high": 2, "middle": 1},
        "favourit": "aok",
    }
    assert mistakes(values) == [  # and nothing that only holds if these are right
        "start.size: input should be a valid integer, unable to parse string as an integer, found 'many'",
        "leaves.0.size: input should be greater than or equal to 1, found -1",
        "range.middle: unknown key; allowed: low, high",
        "favourit: unknown key; did you mean 'favourite'?",
    ]


def test_second_pass__what_must_hold_between_values_of_all_sections_at_once() -> None:
    values = {
        "start": {"name": "a"},
        "leaves": [{"name": "oak"}, {"name": "big", "size": 9, "kind": "square"}],
        "by_name": {"x": {"name": "x", "size": 8, "kind": "square"}},
        "range": {"low": 3, "high": 2},
        "favourite": "aok",
    }
    assert mistakes(values) == [
        "favourite: no leaf 'aok'; did you mean 'oak'?",
        "leaves.1: 'big' is square and large",
        "by_name.x: 'x' is square and large",
        "range: low 3 is above high 2",
    ]


def test_a_validator_that_raises_several_lines() -> None:
    class Whole(Config):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _check(cls, size: int) -> int:
            raise ValueError("never right\nin two ways")

    with pytest.raises(ConfigError) as error:
        parse_config(Whole, {"size": 2})
    assert str(error.value) == "config: 2 problems\n  - size: never right\n  - size: in two ways"


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("1e-3", 0.001), ("0.5", 0.5)])
def test_numbers__as_text_are_numbers(text: str, value: float) -> None:
    # YAML 1.1 reads 1e-3 as text, as it has no point.
    assert parse_config(Root, {**GOOD, "share": text}).share == value


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_something_else_than_settings(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"test.yaml: expected settings \(key: value\), found "):
        parse_config(Root, values, "test.yaml")


def test_direct_construction_raises_too() -> None:
    with pytest.raises(ValueError, match="is square and large"):
        Leaf(name="a", size=4, kind="square")


def test_near_without_choices_says_nothing() -> None:
    assert near("a", {}) == ""


def test_names__what_they_may_be_made_of() -> None:
    class Named(Config):
        name: Name

    with pytest.raises(ConfigError) as error:
        parse_config(Named, {"name": "Long Click"})
    assert str(error.value).split("\n  - ")[1] == (
        "name: 'Long Click' is not a valid name; begin with a lower-case letter, then use lower-case "
        "letters, digits and underscores"
    )

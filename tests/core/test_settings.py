"""Settings from YAML: all mistakes at once, near names, overrides."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, model_validator

from interactrank.core.settings import Config, ConfigError, apply_overrides, near, parse_config


class Leaf(Config):
    name: str
    size: int = Field(1, ge=1)
    kind: Literal["round", "square"] = "round"

    def problems(self) -> list[str]:
        return [f"'{self.name}' is square and large"] if self.kind == "square" and self.size > 3 else []


class Old(Config):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _check(self) -> Old:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Root(Config):
    first: Leaf = Field(alias="start")
    leaves: list[Leaf] = Field(min_length=1)
    by_name: dict[str, Leaf] = Field(default_factory=dict)
    old: Old = Old()
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
            ["qqqq: unknown key; allowed: start, leaves, by_name, old, favourite"],
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
        ({"old": {"low": 2}}, ["old: low 2 is above high 1"]),
    ],
)
def test_each_mistake_alone(change: dict[str, Any], expected: list[str]) -> None:
    assert mistakes({**GOOD, **change}) == expected


def test_mistakes_of_values_do_not_hide_mistakes_between_values() -> None:
    values = {
        "start": {"name": "a", "size": "many"},
        "leaves": [{"name": "oak", "size": -1}, {"name": "big", "size": 9, "kind": "square"}],
        "old": {"low": 3, "high": 2, "middle": 1},
        "favourit": "aok",
    }
    assert set(mistakes(values)) == {
        "start.size: input should be a valid integer, unable to parse string as an integer, found 'many'",
        "leaves.0.size: input should be greater than or equal to 1, found -1",
        "leaves.1: 'big' is square and large",
        "old.middle: unknown key; allowed: low, high",
        "old: low 3 is above high 2",
        "favourit: unknown key; did you mean 'favourite'?",
        "favourite: no leaf 'aok'; did you mean 'oak'?",
    }


def test_a_validator_of_the_whole_that_raises() -> None:
    class Whole(Config):
        old: Old = Old()
        size: int = 1

        @model_validator(mode="after")
        def _check(self) -> Whole:
            raise ValueError("never right\nin two ways")

    with pytest.raises(ConfigError) as error:
        parse_config(Whole, {"old": {"low": 5}, "size": "x"})
    assert [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:]] == [
        "old: low 5 is above high 1",
        "size: input should be a valid integer, unable to parse string as an integer, found 'x'",
        "never right",
        "in two ways",
    ]


def test_no_message_is_about_a_stand_in() -> None:
    # Without names, nothing can be said about the favourite or about the sizes of leaves.
    values = {"start": [], "leaves": [{"name": 3}, "x"], "favourite": "oak", "by_name": {"k": 7}}
    found = mistakes(values)
    assert not any("stand_in" in m for m in found)
    assert [m.split(":")[0] for m in found] == [
        "start",
        "leaves.0.name",
        "leaves.1",
        "by_name.k",
    ]


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_something_else_than_settings(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"test.yaml: expected settings \(key: value\), found "):
        parse_config(Root, values, "test.yaml")


def test_direct_construction_raises_too() -> None:
    with pytest.raises(ValueError, match="is square and large"):
        Leaf(name="a", size=4, kind="square")


def test_near_without_choices_says_nothing() -> None:
    assert near("a", {}) == ""


def test_overrides_reach_lists_and_make_sections() -> None:
    values = {"a": {"b": [1, {"c": 2}]}, "empty": None}
    overrides = ["a.b.1.c=[3, 4]", "a.b.0=null", "empty.x=1e-3", "new.deep.key=text", "a.eq=x=y"]
    assert apply_overrides(values, overrides) == {
        "a": {"b": [None, {"c": [3, 4]}], "eq": "x=y"},
        "empty": {"x": "1e-3"},  # YAML 1.1: a number needs a point, 1.0e-3
        "new": {"deep": {"key": "text"}},
    }
    assert values == {"a": {"b": [1, {"c": 2}]}, "empty": None}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "override 'a': write section.key=value, such as training.steps=100"),
        ("=1", "override '=1': write section.key=value, such as training.steps=100"),
        ("a=[1", "override 'a=[1': the value is not valid YAML"),
        ("list.x=1", "override 'list.x=1': the config has no place 'list.x'"),
        ("list.5=1", "override 'list.5=1': the config has no place 'list.5'"),
        ("number.x=1", "override 'number.x=1': the config has no place 'number.x'"),
        ("number.x.y=1", "override 'number.x.y=1': the config has no place 'number.x.y'"),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        apply_overrides({"list": [1], "number": 2}, [override])
    assert str(error.value) == message

"""Places of settings, and which domains go with them."""

from typing import Literal

import pytest
from pydantic import Field

from interactrank.core.search_space import Domain, Range, domain_problems, find_places, nested
from interactrank.core.settings import Config, ConfigError, parse_config


class Optimizer(Config):
    lr: float = 0.1


class Tower(Config):
    dropout: float = 0.0
    dims: list[int] = Field(default_factory=list)


class Model(Config):
    request_tower: Tower = Tower()
    item_tower: Tower | None = None
    priors: dict[str, float] = Field(default_factory=dict)
    pointwise: Literal["bce", "focal"] = "bce"
    blocks: int | None = None
    optimizer: Optimizer = Field(default_factory=Optimizer, alias="optimiser")


def places(key: str) -> list[str]:
    found, problem = find_places(Model, key)
    assert problem is None
    return [".".join(place) for place, _ in found]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("blocks", ["blocks"]),
        ("optimiser.lr", ["optimiser.lr"]),
        ("item_tower.dims", ["item_tower.dims"]),
        ("priors.iqp", ["priors.iqp"]),
        ("*_tower.dropout", ["request_tower.dropout", "item_tower.dropout"]),
        ("*.lr", ["optimiser.lr"]),
    ],
)
def test_find_places(key: str, expected: list[str]) -> None:
    assert places(key) == expected


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("block", "unknown key 'block'; did you mean 'blocks'?"),
        ("optimizer.lr", "unknown key 'optimizer'; did you mean 'optimiser'?"),
        ("item_tower.width", "unknown key 'width'; allowed: dropout, dims"),
        ("blocks.deep", "unknown key 'deep'"),
        ("priors.*", "unknown key '*'"),
        ("request_tower", "request_tower is a section; name one of its settings: dropout, dims"),
        ("*_tower", "request_tower is a section; name one of its settings: dropout, dims"),
        ("", "unknown key ''; allowed: request_tower, item_tower, priors, pointwise, blocks, optimiser"),
    ],
)
def test_find_places__says_what_is_wrong(key: str, message: str) -> None:
    assert find_places(Model, key) == ([], message)


@pytest.mark.parametrize(
    ("key", "domain", "problem"),
    [
        ("request_tower.dropout", Range(low=0, high=1), None),
        ("blocks", Range(low=1, high=8, log=True), None),
        ("blocks", Range(low=1, high=2.5), "whole numbers are asked for, found 1 to 2.5"),
        ("pointwise", Range(low=0, high=1), "a range fits numbers alone; name the choices in a list"),
        ("priors", Range(low=0, high=1), "a range fits numbers alone; name the choices in a list"),
        ("request_tower.dims", [[8], [16, 8]], None),
        ("pointwise", [], "an empty list; name the choices"),
        ("pointwise", ["bce", "focal", "bce"], "'bce' is named more than once"),
    ],
)  # fmt: skip
def test_domain_problems(key: str, domain: Domain, problem: str | None) -> None:
    annotations = [of for _, of in find_places(Model, key)[0]]
    assert domain_problems(domain, annotations) == ([] if problem is None else [problem])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 2, "high": 1}, "low 2 must be below high 1"),
        ({"low": 1, "high": 1}, "low 1 must be below high 1"),
        ({"low": 0, "high": 1, "log": True}, "log needs low above 0, found 0"),
        ({"low": 0}, "high: required, but missing"),
        ({"low": 0, "high": 1, "logs": True}, "logs: unknown key; did you mean 'log'?"),
        ({"low": True, "high": 2}, "low: input should be a number, found True"),
    ],
)
def test_range__mistakes(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(Range, values)
    assert message in str(error.value)


def test_nested() -> None:
    assert nested(("a", "b", "c"), [1]) == {"a": {"b": {"c": [1]}}}

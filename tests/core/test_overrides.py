"""Settings of the command line replace those of the file."""

from __future__ import annotations

import pytest

from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import ConfigError


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
        ("a..b=1", "override 'a..b=1': write section.key=value, such as training.steps=100"),
        ("a.=1", "override 'a.=1': write section.key=value, such as training.steps=100"),
        (
            "a=[1",
            "override 'a=[1' is not valid YAML: line 1, column 3: expected ',' or ']', but got '<stream "
            "end>'",
        ),
        ("a={b: 1, b: 2}", "override 'a={b: 1, b: 2}' has the key 'b' twice, in lines 1 and 1; keep one"),
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

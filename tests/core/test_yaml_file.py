"""YAML that people write: every mistake is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from interactrank.core.settings import ConfigError
from interactrank.core.yaml_file import parse_yaml, read_yaml


def message(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        read_yaml(path)
    return str(error.value).replace(f"{path}", "c.yaml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "'c.yaml' is empty; expected settings (key: value)"),
        ("# only a comment\n", "'c.yaml' is empty; expected settings (key: value)"),
        ("- 1", "'c.yaml': expected settings (key: value), found list"),
        ("schema", "'c.yaml': expected settings (key: value), found str"),
        (
            "a: [1",
            "'c.yaml' is not valid YAML: line 1, column 6: expected ',' or ']', but got '<stream end>'",
        ),
        (
            "a:\n\tb: 1",
            "'c.yaml' is not valid YAML: line 2, column 1: a tab where blanks are needed; indent with blanks",
        ),
        ("a: b: c", "'c.yaml' is not valid YAML: line 1, column 5: mapping values are not allowed here"),
        ("a: 2024-02-30", "'c.yaml' is not valid YAML: day is out of range for month"),
        ("a: 1\0", "'c.yaml' is not valid YAML: special characters are not allowed at character 4"),
        ("a: " + "[" * 2000, "'c.yaml' is not valid YAML: maximum recursion depth exceeded"),
        (
            "a: !!python/object:os.system x",
            "'c.yaml' is not valid YAML: line 1, column 4: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("a: 1\n---\nb: 2", "'c.yaml' is not valid YAML: line 2, column 1: but found another document"),
    ],
)
def test_read_yaml__something_else_than_settings(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert message(path)[: len(expected)] == expected


def test_read_yaml__a_key_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("training:\n  epochs: 7\n  'lr': 1\n  lr: 2\nmodel: {}\ntraining:\n  seed: 3\n")
    assert message(path) == (
        "'c.yaml' has the key 'lr' twice, in lines 3 and 4; the key 'training' twice, in lines 1 and 6; "
        "keep one"
    )


def test_parse_yaml__merged_keys_may_be_given_again() -> None:
    text = "base: &base {lr: 1, steps: 2}\ndeep: {er: &child {<<: *base, lr: 3}}\nuse: {<<: *child, lr: 4}\n"
    values = parse_yaml(text, "c.yaml")
    assert values["use"] == {"lr": 4, "steps": 2}
    assert values["deep"]["er"] == {"lr": 3, "steps": 2}


def test_parse_yaml__one_and_the_text_one_are_two_keys() -> None:
    assert parse_yaml("{1: a, '1': b}", "c.yaml") == {1: "a", "1": "b"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-32"])
def test_read_yaml__another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("a: 1\nname: café\n".encode(encoding))
    assert (
        message(path)
        == {
            "utf-16": "'c.yaml' is UTF-16 text; save it as UTF-8",
            "utf-16-le": "'c.yaml' is UTF-16 text; save it as UTF-8",
            "utf-16-be": "'c.yaml' is UTF-16 text; save it as UTF-8",
            "utf-32": "'c.yaml' is UTF-32 text; save it as UTF-8",
            "latin-1": "'c.yaml' is not UTF-8 text (byte 0xe9 in line 2); save it as UTF-8",
        }[encoding]
    )


def test_read_yaml__utf_8_with_a_mark_in_front(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("name: café".encode("utf-8-sig"))
    assert read_yaml(path) == {"name": "café"}


def test_read_yaml__a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert message(tmp_path / "none.yaml") == "cannot read 'c.yaml': No such file or directory"
    assert message(tmp_path) == "cannot read 'c.yaml': Is a directory"

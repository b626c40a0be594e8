"""YAML that people write: a key given twice is an error, and every error is one line with its place."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Any

import yaml

from interactrank.core.settings import ConfigError

__all__ = ["parse_yaml", "read_yaml"]


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of settings.

    Returns:
        Its mapping.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, is not valid YAML, has a key twice, or is not a mapping.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read '{path}': {error.strerror}") from None
    values = parse_yaml(_decode(data, path), f"'{path}'")
    if values is None:
        raise ConfigError(f"'{path}' is empty; expected settings (key: value)")
    if not isinstance(values, dict):
        raise ConfigError(f"'{path}': expected settings (key: value), found {type(values).__name__}")
    return values


def parse_yaml(text: str, source: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: the YAML.
        source: what an error calls it.

    Raises:
        ConfigError: it is not valid YAML, or a mapping has a key twice; one line with the place.

    Example::

        >>> parse_yaml("a: 1\\nb: 2\\na: 3", "'c.yaml'")
        Traceback (most recent call last):
            ...
        interactrank.core.settings.ConfigError: 'c.yaml' has the key 'a' twice, in lines 1 and 3; keep one
    """
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {_one_line(error)}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"{source} is not valid YAML: {error.reason} at character {error.position}"
        ) from None
    except (ValueError, RecursionError) as error:  # a date such as 2024-02-30; brackets without end
        raise ConfigError(f"{source} is not valid YAML: {error}") from None
    if loader.twice:
        raise ConfigError(f"{source} has {'; '.join(loader.twice)}; keep one")
    return value


class _Loader(yaml.SafeLoader):
    """A loader that notes the keys which a mapping has twice; YAML would keep the last without a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[str] = []

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Look at the keys before those of ``<<`` are merged in, which may be given twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, known = key.start_mark.line + 1, (key.tag, key.value)
                if known in first:
                    self.twice.append(f"the key '{key.value}' twice, in lines {first[known]} and {line}")
                first[known] = line
        return node


def _decode(data: bytes, path: str | os.PathLike[str]) -> str:
    zeros = data[:4].count(0)  # the first character of YAML is ASCII, of 2 or 4 bytes there
    wide = "UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None
    if len(data) >= 4 and zeros:
        wide = "UTF-32" if zeros >= 3 or b"\0\0" in data[:4] else "UTF-16"
    if wide is not None:
        raise ConfigError(f"'{path}' is {wide} text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"'{path}' is not UTF-8 text (byte 0x{data[error.start]:02x} in line {line}); save it as UTF-8"
        ) from None


def _one_line(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "a syntax error"
    if "'\\t'" in problem:
        problem = "a tab where blanks are needed; indent with blanks"
    mark = error.problem_mark or error.context_mark
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"

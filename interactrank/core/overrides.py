"""Settings of the command line, ``section.key=value``, applied to those of a file."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from interactrank.core.settings import ConfigError
from interactrank.core.yaml_file import parse_yaml

__all__ = ["apply_overrides"]


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of ``values`` with overrides applied.

    Args:
        values: mappings, lists and scalars, as YAML gives them.
        overrides: ``section.key=value`` each; the value is YAML, an entry of a list is named by its number.

    Raises:
        ConfigError: an override is not ``section.key=value``, or names a place that the values cannot have.

    Example::

        >>> apply_overrides({"training": {"steps": 10}}, ["training.steps=20", "model.dim=8"])
        {'training': {'steps': 20}, 'model': {'dim': 8}}
    """
    result = copy.deepcopy(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise ConfigError(f"override '{override}': write section.key=value, such as training.steps=100")
        value = parse_yaml(text, f"override '{override}'")
        try:
            _set(result, keys, value)
        except (TypeError, ValueError, IndexError):
            raise ConfigError(f"override '{override}': the config has no place '{path}'") from None
    return result


def _set(at: Any, keys: Sequence[str], value: Any) -> None:
    *parents, last = keys
    for key in parents:
        if isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value

"""What a tuning may vary: ranges of numbers and lists of choices, by the dotted place of a setting.

A place may hold ``*``: ``model.*_tower.dropout`` is the dropout of both towers, which then have one value.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, Field

from interactrank.core.annotations import parts_of_union
from interactrank.core.settings import Config, near

__all__ = ["Domain", "Place", "Range", "SearchSpace", "domain_problems", "find_places", "nested"]


class Range(Config):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = Field(False, description="draw evenly in orders of magnitude")

    def problems(self) -> list[str]:
        """Return what is wrong with the ends."""
        if self.low >= self.high:
            return [f"low {self.low:g} must be below high {self.high:g}"]
        if self.log and self.low <= 0:
            return [f"log needs low above 0, found {self.low:g}"]
        return []


Domain = Range | list[Any]
"""What a setting may be: a range, or choices."""

SearchSpace = Mapping[str, Domain]
"""Dotted place -> what may stand there."""

Place = tuple[str, ...]


def find_places(kind: type[BaseModel], key: str) -> tuple[list[tuple[Place, Any]], str | None]:
    """Return the places of settings that a dotted key names, each with its annotation.

    Args:
        kind: the class of the whole.
        key: such as ``training.dense_optimizer.lr``; ``*`` stands for any letters of a name.

    Returns:
        The places, and what is wrong with the key; None if nothing is.

    Example::

        >>> class Tower(Config):
        ...     dropout: float = 0.0
        ...     input_dropout: float = 0.0
        >>> [place for place, _ in find_places(Tower, "*dropout")[0]]
        [('dropout',), ('input_dropout',)]
        >>> find_places(Tower, "droput")[1]
        "unknown key 'droput'; did you mean 'dropout'?"
    """
    found: list[tuple[Place, Any]] = [((), kind)]
    for step in key.split("."):
        deeper: list[tuple[Place, Any]] = []
        names: dict[str, None] = {}
        entry = None if "*" in key else step
        for place, annotation in found:
            for name, of in _below(annotation, entry):
                names[name] = None
                if fnmatchcase(name, step):
                    deeper.append(((*place, name), of))
        if not deeper:
            return [], f"unknown key '{step}'{near(step, list(names))}"
        found = deeper
    for place, annotation in found:
        sections = [part for part in parts_of_union(annotation) if _is_section(part)]
        if sections:
            inner = ", ".join(name for name, _ in _below(sections[0], None))
            return [], f"{'.'.join(place)} is a section; name one of its settings: {inner}"
    return found, None


def is_whole(annotation: Any) -> bool | None:
    """Return whether a setting of that annotation is a whole number; None if it is not a number.

    Example::

        >>> is_whole(int | None), is_whole(float), is_whole(bool), is_whole(list[int])
        (True, False, None, None)
    """
    parts = set(parts_of_union(annotation))
    if float in parts:
        return False
    return True if int in parts else None


def domain_problems(domain: Domain, annotations: Sequence[Any]) -> list[str]:
    """Return why settings of these annotations cannot have the domain; the ends themselves are not looked at.

    Args:
        domain: a range or choices.
        annotations: of the settings that share the value.
    """
    if not isinstance(domain, Range):
        if not domain:
            return ["an empty list; name the choices"]
        repeated = [repr(value) for i, value in enumerate(domain) if value in domain[:i]]
        return [f"{repeated[0]} is named more than once"] if repeated else []
    for annotation in annotations:
        whole = is_whole(annotation)
        if whole is None:
            return ["a range fits numbers alone; name the choices in a list"]
        if whole and not (domain.low.is_integer() and domain.high.is_integer()):
            return [f"whole numbers are asked for, found {domain.low:g} to {domain.high:g}"]
    return []


def nested(place: Sequence[str], value: Any) -> dict[str, Any]:
    """Return settings with one value at a place.

    Example::

        >>> nested(("training", "epochs"), 3)
        {'training': {'epochs': 3}}
    """
    for step in reversed(place):
        value = {step: value}
    assert isinstance(value, dict)
    return value


def _below(annotation: Any, entry: str | None) -> list[tuple[str, Any]]:
    """Return names and annotations of what lies below; a mapping has any entry, but none for a pattern."""
    for part in parts_of_union(annotation):
        if _is_section(part):
            return [(field.alias or name, field.annotation) for name, field in part.model_fields.items()]
        if entry is not None and typing.get_origin(part) in (dict, Mapping):
            return [(entry, typing.get_args(part)[1])]
    return []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

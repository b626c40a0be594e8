"""Settings: typed sections, checked in two passes that report every mistake they find.

A section is a :class:`Config`. The first pass is pydantic's: unknown keys, missing keys, wrong values. If it
finds nothing, the second asks every section for its :meth:`Config.problems`: what must hold between values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from interactrank.core.annotations import keys_at, parts_of_union
from interactrank.core.errors import UserError

__all__ = ["Config", "ConfigError", "Name", "error_lines", "near", "parse_config"]

NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
"""A name that the user chooses: lower-case letters, digits and underscores."""

Place = tuple[int | str, ...]
SECOND_PASS = "problems are asked for in the second pass"


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used; the message lists every mistake, one a line."""


class Config(BaseModel):
    """The base of all settings, which are frozen and refuse unknown keys, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the values of this section taken together, one message each."""
        return []

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        """Pydantic would read ``epochs: yes`` as 1."""
        if isinstance(value, bool) and info.field_name is not None:
            allowed = set(parts_of_union(cls.model_fields[info.field_name].annotation))
            if allowed & {int, float} and bool not in allowed:
                raise ValueError(f"input should be a number, found {value}")
        return value

    @model_validator(mode="after")
    def _raise_problems(self, info: ValidationInfo) -> Self:
        if info.context != SECOND_PASS and (found := self.problems()):
            raise ValueError("\n".join(found))
        return self


ConfigT = TypeVar("ConfigT", bound=Config)


def parse_config(kind: type[ConfigT], values: Any, source: str = "config") -> ConfigT:
    """Validate plain values into settings of ``kind``.

    Args:
        kind: the class of the whole.
        values: mappings, lists and scalars, as YAML gives them.
        source: what the error calls them, such as the path of their file.

    Returns:
        The settings.

    Raises:
        ConfigError: lists every mistake of the first pass that finds any, each with its place.

    Example::

        >>> class Tree(Config):
        ...     height: int = Field(1, ge=1)
        >>> parse_config(Tree, {"hieght": 3}, "tree.yaml")
        Traceback (most recent call last):
            ...
        interactrank.core.settings.ConfigError: tree.yaml: 1 problem
          - hieght: unknown key; did you mean 'height'?
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected settings (key: value), found {type(values).__name__}")
    try:
        parsed = kind.model_validate(values, context=SECOND_PASS)
    except ValidationError as error:
        lines = error_lines(kind, error)
    else:
        lines = [_at(place, m) for place, section in _sections(parsed) for m in section.problems()]
        if not lines:
            return parsed
    lines = list(dict.fromkeys(lines))
    count = f"{len(lines)} problem{'s' * (len(lines) > 1)}"
    raise ConfigError("\n  - ".join([f"{source}: {count}", *lines])) from None


def error_lines(kind: type[BaseModel], error: ValidationError) -> list[str]:
    """Return a line for each mistake that pydantic found in values of ``kind``, with its place."""
    errors = error.errors()
    return [m for e in errors if not _only_follows(e, errors) for m in _messages(kind, e)]


def near(name: str, allowed: Mapping[str, Any] | Sequence[str]) -> str:
    """Return what to say after an unknown name: the nearest valid one, or all that are allowed.

    Example::

        >>> near("clik", ["click", "save"]), near("x", ["click", "save"]), near("x", [])
        ("; did you mean 'click'?", '; allowed: click, save', '')
    """
    close = difflib.get_close_matches(name, list(allowed), n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; allowed: {', '.join(allowed)}" if allowed else ""


def _at(place: Place, message: str) -> str:
    return f"{'.'.join(map(str, place))}: {message}" if place else message


def _messages(kind: type[BaseModel], error: Any) -> list[str]:
    """Return the lines about one of pydantic's errors."""
    place, problem, value = error["loc"], error["type"], error["input"]
    if place[-1:] == ("[key]",):  # of a mapping from names
        place = place[:-1]
    if problem in ("extra_forbidden", "invalid_key"):  # invalid: a key such as 3
        return [_at(place, f"unknown key{near(str(place[-1]), keys_at(kind, place[:-1]))}")]
    if problem == "missing":
        return [_at(place, "required, but missing")]
    if problem == "value_error":
        return [_at(place, m) for m in str(error["ctx"]["error"]).split("\n")]
    if problem == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME:
        rule = "begin with a lower-case letter, then use lower-case letters, digits and underscores"
        return [_at(place, f"'{value}' is not a valid name; {rule}")]
    text = f"{error['msg'][0].lower()}{error['msg'][1:]}, found {value!r}"[:300]
    if problem == "literal_error" and isinstance(value, str):
        close = difflib.get_close_matches(value, re.findall(r"'([^']*)'", error["ctx"]["expected"]), n=1)
        text += f"; did you mean '{close[0]}'?" if close else ""
    if problem == "string_type" and isinstance(value, bool | int | float):
        text += "; put it in quotes"
    return [_at(place, text)]


def _only_follows(error: Any, errors: Sequence[Any]) -> bool:
    """Return whether a list is called too short only because wrong values were left out of it."""
    place = error["loc"]
    return error["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and other != error for other in errors
    )


def _sections(value: Any, place: Place = ()) -> Iterator[tuple[Place, Config]]:
    """Yield all settings within a value, with their places."""
    if isinstance(value, Config):
        yield place, value
        for name, field in type(value).model_fields.items():
            yield from _sections(getattr(value, name), (*place, field.alias or name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _sections(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _sections(inner, (*place, i))

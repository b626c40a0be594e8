"""Settings that are read from YAML: every mistake in them is collected and reported at once.

A section is a :class:`Config`. Pydantic checks its values one by one; :meth:`Config.problems` says what must
hold between them. Pydantic alone would ask the second question only where the first found nothing, so
:func:`parse_config` puts stand-ins in the place of wrong values and goes on.
"""

from __future__ import annotations

import copy
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from typing_extensions import Self

from interactrank.core.errors import UserError

__all__ = ["Config", "ConfigError", "Name", "apply_overrides", "near", "parse_config"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A name of the user's: lower case, digits and underscores."""

Place = tuple[int | str, ...]
STAND_IN = "zz_stand_in"  # a name that nobody gave; a message about it is not the user's mistake
DEFER = "problems are asked for later"
ROUNDS = 8  # a stand-in may have required fields, which need stand-ins in turn


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used; the message lists every mistake, one a line."""


class Config(BaseModel):
    """Base of all settings: unknown keys, NaN and infinity are refused; values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def problems(self) -> list[str]:
        """What is wrong with the values of this section taken together, one message each."""
        return []

    @model_validator(mode="after")
    def _raise_problems(self, info: ValidationInfo) -> Self:
        if info.context != DEFER and (found := self.problems()):
            raise ValueError("\n".join(found))
        return self


ConfigT = TypeVar("ConfigT", bound=Config)


def near(name: str, allowed: Mapping[str, Any] | Sequence[str]) -> str:
    """What to say after an unknown name: the nearest valid one, or all that are allowed."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; allowed: {', '.join(allowed)}" if allowed else ""


def parse_config(kind: type[ConfigT], values: Any, source: str = "config") -> ConfigT:
    """Validate plain values into settings of ``kind``.

    Raises:
        ConfigError: lists every mistake, each with its place and, for an unknown key, the nearest valid one.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected settings (key: value), found {type(values).__name__}")
    values = copy.deepcopy(values)
    lines: list[str] = []
    wrong: list[Place] = []
    names = {STAND_IN}  # what stand-ins are called, and what they stand for
    parsed: ConfigT | None = None
    for _ in range(ROUNDS):
        try:
            parsed = kind.model_validate(values, context=DEFER)
            break
        except ValidationError as error:
            errors = [e for e in error.errors() if not _only_follows(e, error.errors())]
        own = [e for e in errors if not any(e["loc"][: len(w)] == w for w in wrong)]  # none of a stand-in's
        lines += [m for e in own for m in _messages(kind, e) if not _about(m, names)]
        wrong += [e["loc"] for e in errors if e["type"] != "extra_forbidden"]
        try:
            for e in errors:
                names |= _repair(kind, values, e)
        except (LookupError, TypeError, AttributeError, StopIteration):
            break  # nothing can stand in for that; what was found so far is reported
    if parsed is not None:
        for place, section in _sections(parsed, ()):
            if not (_is_leaf(section) and any(w[:-1] == place for w in wrong)):
                lines += [_at(place, m) for m in section.problems() if not _about(m, names)]
    if lines or parsed is None:
        lines = list(dict.fromkeys(lines))
        raise ConfigError(
            f"{source}: {len(lines)} problem{'s' * (len(lines) > 1)}\n"
            + "\n".join(f"  - {line}" for line in lines)
        )
    return parsed


def _at(place: Place, message: str) -> str:
    return f"{'.'.join(map(str, place))}: {message}" if place else message


def _about(message: str, names: set[str]) -> bool:
    """Whether a message is about a stand-in."""
    return STAND_IN in message or any(f"'{name}'" in message for name in names)


def _messages(kind: type[BaseModel], e: Any) -> list[str]:
    """The lines about one error of pydantic's."""
    place, problem = e["loc"], e["type"]
    if problem == "extra_forbidden":
        return [_at(place, f"unknown key{near(str(place[-1]), _keys(_inner(kind, place[:-1])))}")]
    if problem == "missing":
        return [_at(place, "required, but missing")]
    if problem == "value_error":
        return [_at(place, m) for m in str(e["ctx"]["error"]).split("\n")]
    text = f"{e['msg'][0].lower()}{e['msg'][1:]}, found {e['input']!r}"[:300]
    if problem == "literal_error" and isinstance(e["input"], str):
        close = difflib.get_close_matches(e["input"], re.findall(r"'([^']*)'", e["ctx"]["expected"]), n=1)
        text += f"; did you mean '{close[0]}'?" if close else ""
    return [_at(place, text)]


def _only_follows(e: Any, errors: Sequence[Any]) -> bool:
    """Whether a list is called too short only because wrong values were left out of it."""
    place = e["loc"]
    return e["type"] == "too_short" and any(o["loc"][: len(place)] == place and o != e for o in errors)


def _repair(kind: type[BaseModel], values: Any, e: Any) -> set[str]:
    """Put something valid in the place of the error; returns the names that are lost by it."""
    if not e["loc"]:
        raise LookupError("the whole has nothing to stand in for it")
    *parents, last = e["loc"]
    if last == "[key]":  # of a mapping
        *parents, last = parents
    at = values
    for step in parents:
        at = at[step]
    holder = _inner(kind, parents)
    if e["loc"][-1] == "[key]":
        del at[last]
        return {str(last)}
    if e["type"] == "extra_forbidden":
        value = at.pop(last)
        close = difflib.get_close_matches(str(last), [k for k in _keys(holder) if k not in at], n=1)
        if close:
            at[close[0]] = value  # what was meant, most likely
        return set()
    if not _is_model(holder):
        at[last] = _stand_in(_element(holder))
    elif (field := _field(holder, last)).is_required():
        at[last] = _stand_in(field.annotation, field.metadata)
    else:
        at.pop(last)
    return {e["input"]} if isinstance(e["input"], str) else set()


def _stand_in(annotation: Any, metadata: Sequence[Any] = ()) -> Any:
    """A valid value of a type; a section comes empty, its required keys follow in the next round."""
    if typing.get_origin(annotation) is Annotated:
        return _stand_in(*(typing.get_args(annotation)[0], typing.get_args(annotation)[1:]))
    annotation = _unwrap(annotation)
    origin = typing.get_origin(annotation)
    if _is_model(annotation) or origin is dict:
        return {}
    if origin is Literal:
        return typing.get_args(annotation)[0]
    if origin in (list, tuple):
        return [_stand_in(_element(annotation))]
    if annotation in (int, float):
        lowest = [getattr(m, "ge", None) or getattr(m, "gt", 0) + 1 for m in metadata if _bounds_below(m)]
        return annotation(max(lowest, default=1))
    if annotation is bool:
        return False
    return STAND_IN


def _bounds_below(constraint: Any) -> bool:
    return hasattr(constraint, "ge") or hasattr(constraint, "gt")


def _sections(value: Any, place: Place) -> Iterator[tuple[Place, Config]]:
    """All settings within a value, with their places."""
    if isinstance(value, Config):
        yield place, value
        for name, field in type(value).model_fields.items():
            yield from _sections(getattr(value, name), (*place, field.alias or name))
    elif isinstance(value, dict):
        for key, v in value.items():
            yield from _sections(v, (*place, key))
    elif isinstance(value, list | tuple):
        for i, v in enumerate(value):
            yield from _sections(v, (*place, i))


def _is_leaf(section: Config) -> bool:
    """Whether a section has no sections within."""
    return next((False for place, _ in _sections(section, ()) if place), True)


def _inner(kind: Any, path: Sequence[int | str]) -> Any:
    """The type found by following ``path`` through nested annotations."""
    for step in path:
        kind = _unwrap(_field(kind, step).annotation if _is_model(kind) else _element(kind))
    return kind


def _field(kind: type[BaseModel], key: int | str) -> FieldInfo:
    """The field that a key of a YAML file sets."""
    return next(f for name, f in kind.model_fields.items() if key == (f.alias or name))


def _keys(kind: Any) -> list[str]:
    return [f.alias or name for name, f in kind.model_fields.items()] if _is_model(kind) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _element(kind: Any) -> Any:
    """Type of the values of a list, tuple or mapping."""
    return next(a for a in reversed(typing.get_args(kind)) if a is not Ellipsis)


def _unwrap(annotation: Any) -> Any:
    """``X | None`` -> ``X``; ``Annotated[X, ...]`` -> ``X``."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _unwrap(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return _unwrap(next(a for a in typing.get_args(annotation) if a is not type(None)))
    return annotation


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``values`` with ``section.key=value`` settings (YAML values; list entries by number) applied.

    Raises:
        ConfigError: an override that is not ``key=value``, or that names a place the config cannot have.

    Example::

        >>> apply_overrides({"training": {"steps": 10}}, ["training.steps=20", "model.dim=8"])
        {'training': {'steps': 20}, 'model': {'dim': 8}}
    """
    result = copy.deepcopy(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"override '{override}': write section.key=value, such as training.steps=100")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"override '{override}': the value is not valid YAML") from None
        *parents, last = path.split(".")
        at: Any = result
        try:
            for key in parents:
                if isinstance(at, dict) and at.get(key) is None:
                    at[key] = {}
                at = at[int(key)] if isinstance(at, list) else at[key]
            at[int(last) if isinstance(at, list) else last] = value
        except (TypeError, ValueError, IndexError):
            raise ConfigError(f"override '{override}': the config has no place '{path}'") from None
    return result

"""What the annotations of settings say: the keys at a place, and the parts of a union."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel

__all__ = ["keys_at", "parts_of_union"]


def keys_at(kind: Any, place: Sequence[int | str]) -> list[str]:
    """Return the keys that the settings at a place within ``kind`` may have; none if they are not a section.

    Args:
        kind: the class of the whole.
        place: the keys, and numbers of list entries, that lead to the settings.
    """
    for step in place:
        if _is_section(kind):
            kind = next(f.annotation for name, f in kind.model_fields.items() if step == (f.alias or name))
        else:  # of a list, tuple or mapping
            kind = next(a for a in reversed(typing.get_args(kind)) if a is not Ellipsis)
        kind = next(part for part in parts_of_union(kind) if part is not type(None))
    return [f.alias or name for name, f in kind.model_fields.items()] if _is_section(kind) else []


def parts_of_union(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without the metadata of ``Annotated``.

    Example::

        >>> list(parts_of_union(Annotated[int, "above 0"] | None))
        [<class 'int'>, <class 'NoneType'>]
    """
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from parts_of_union(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from parts_of_union(part)
    else:
        yield annotation


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

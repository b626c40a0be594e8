"""Which keys settings may have at a place, whatever the annotations around them."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from interactrank.core.annotations import keys_at
from interactrank.core.settings import Config


class Leaf(Config):
    size: int = 1
    text: str = Field("", alias="title")


class Tree(Config):
    leaf: Leaf | None = None
    many: list[Leaf] | None = None
    pair: tuple[Leaf, ...] = ()
    named: dict[str, Annotated[Leaf, "x"]] = Field(default_factory=dict)
    free: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("place", "keys"),
    [
        ([], ["leaf", "many", "pair", "named", "free"]),
        (["leaf"], ["size", "title"]),
        (["many", 0], ["size", "title"]),
        (["pair", 3], ["size", "title"]),
        (["named", "oak"], ["size", "title"]),
        (["free", "x"], []),
    ],
)
def test_keys_at__a_place(place: list[int | str], keys: list[str]) -> None:
    assert keys_at(Tree, place) == keys

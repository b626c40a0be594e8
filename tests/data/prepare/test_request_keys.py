"""Keys of requests: what history is counted by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from interactrank.cross_features.features import KeySpace
from interactrank.cross_features.jagged import Jagged
from interactrank.cross_features.text import hash63
from interactrank.data.prepare.request_keys import request_keys, text_keys
from tests.data.logs import schema


def lists(jagged: Jagged) -> list[list[int]]:
    return [x.tolist() for x in np.split(jagged.values, np.cumsum(jagged.lengths)[:-1])]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("query", [["red  red hat"], [""]]),
        ("compact", [["redredhat"], [""]]),
        ("words", [["red", "hat"], []]),  # each once
        ("trigrams", [["^re", "red", "edr", "dre", "edh", "dha", "hat", "at$"], []]),
    ],
)
def test_text_keys(kind: str, expected: list[list[str]]) -> None:
    texts = [["red red hat"]] if kind == "query" else expected[:1]
    found = lists(text_keys(kind, ["Red  red HAT", ""]))
    assert found == [[hash63(k) for k in texts[0]], [hash63(k) for k in expected[1]]]


def keys(users: list[str | None], countries: list[str | None], *iqp: str) -> dict[KeySpace, Jagged]:
    wanted = schema(f"iqp=[{', '.join(iqp)}]")
    now: Any = np.zeros(2, np.int64)
    return request_keys(
        wanted,
        queries=["hat", "hat"],
        users=users,
        segments={"country": countries},
        history={"history": Jagged(np.array([4, 7, 4], np.int64), np.array([2, 1]))},
        time=now,
        history_end=now,
    ).keys


def test_keys_by_kind() -> None:
    found = keys(
        ["u", None], ["de", None],
        "{key: all, engagement: click}", "{key: user, engagement: click}", "{key: history, average: cosine}",
    )  # fmt: skip
    assert lists(found[KeySpace("all", "click", None)]) == [[0], [0]]
    assert lists(found[KeySpace("user", "click", None)]) == [[hash63("u")], []]
    assert lists(found[KeySpace("history", "", None)]) == [[4, 7], [4]]


def test_segments_part_the_keys() -> None:
    feature = "{key: query, engagement: click, segment: country}"
    space = KeySpace("query", "click", "country")
    same = lists(keys(["u", "v"], ["de", "de"], feature)[space])
    other = lists(keys(["u", "v"], ["de", "us"], feature)[space])
    unknown = lists(keys(["u", "v"], ["de", None], feature)[space])
    assert same[0] == same[1] == other[0] == unknown[0]
    assert other[0] != other[1]
    assert unknown[1] == []
    assert min(same[0] + other[1]) >= 0

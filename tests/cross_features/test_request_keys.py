"""Keys of requests: what engagements are counted by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from interactrank.cross_features import Jagged, RequestFacts, features_of, hash63, per_row, text_keys
from interactrank.cross_features.features import keys_of
from tests.data.logs import schema


def lists(jagged: Jagged) -> list[list[int]]:
    return [x.tolist() for x in np.split(jagged.values, np.cumsum(jagged.lengths)[:-1])]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("query", [["red  red hat"], []]),
        ("compact", [["redredhat"], []]),
        ("words", [["red", "hat"], []]),  # each once
        ("trigrams", [["^re", "red", "edr", "dre", "edh", "dha", "hat", "at$"], []]),
    ],
)
def test_text_keys(kind: str, expected: list[list[str]]) -> None:
    texts = [["red red hat"]] if kind == "query" else expected[:1]
    found = lists(text_keys(kind, ["Red  red HAT", ""]))
    assert found == [[hash63(k) for k in texts[0]], [hash63(k) for k in expected[1]]]


def keys(users: list[str | None], countries: list[str | None], *features: str) -> Mapping[str, Jagged]:
    wanted = schema(f"cross_features=[{', '.join(features)}]")
    now: Any = np.zeros(2, np.int64)
    facts = RequestFacts(
        queries=["hat", "hat"],
        users=users,
        segments={"country": countries},
        time=now,
        sequence_end=now,
        sequence_items=per_row([[4, 7], [4]]),
        same_query_items=per_row([[7], []]),
    )
    return keys_of(features_of(wanted), facts).keys


def test_keys_by_kind() -> None:
    found = keys(
        ["u", None], ["de", None],
        "{kind: iqp, key: all, engagement: click}", "{kind: iqp, key: user, engagement: click}",
        "{kind: item_cosine}", "{kind: item_cosine, items: same_query}",
    )  # fmt: skip
    assert lists(found["iqp-all"]) == [[0], [0]]
    assert lists(found["iqp-user"]) == [[hash63("u")], []]
    assert lists(found["item_cosine-sequence"]) == [[4, 7], [4]]
    assert lists(found["item_cosine-same_query"]) == [[7], []]


def test_segments_part_the_keys() -> None:
    feature = "{kind: iqp, key: query, engagement: click, segment: country}"
    space = "iqp-query-country"
    same = lists(keys(["u", "v"], ["de", "de"], feature)[space])
    other = lists(keys(["u", "v"], ["de", "us"], feature)[space])
    unknown = lists(keys(["u", "v"], ["de", None], feature)[space])
    assert same[0] == same[1] == other[0] == unknown[0]
    assert other[0] != other[1]
    assert unknown[1] == []
    assert min(same[0] + other[1]) >= 0

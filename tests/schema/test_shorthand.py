"""The lists iqp and lexical are a short spelling of entries of cross_features."""

from __future__ import annotations

from typing import Any

import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.schema import SearchSchema
from interactrank.schema.shorthand import expand

EVENTS = {"query": "q", "item": "i", "time": "t", "user": "u", "engagements": {"click": "c"}}


def schema(**sections: Any) -> dict[str, Any]:
    return {
        "events": EVENTS,
        "items": {"id": "i"},
        "features": {"item": [{"name": "item", "kind": "id", "column": "i", "table": "item"}]},
        "tables": {"item": {"dim": 4}},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "sequence": {"length": 5, "item": "item"},
        **sections,
    }


def test_expand__shares_then_text_then_the_long_entries() -> None:
    short = schema(
        lexical=[{"columns": ["title"]}],
        iqp=[{"key": "all", "engagement": "click"}],
        cross_features=[{"kind": "item_cosine"}],
    )
    read = parse_config(SearchSchema, short, "test")
    assert [f.kind for f in read.cross_features] == ["iqp", "bm25", "item_cosine"]


@pytest.mark.parametrize(
    ("entry", "long"),
    [
        ({"key": "history", "average": "cosine"}, {"kind": "item_cosine", "items": "sequence"}),
        ({"key": "history_query", "average": "cosine"}, {"kind": "item_cosine", "items": "same_query"}),
        (
            {"key": "history_query", "average": "cosine", "over": "queries"},
            {"kind": "query_cosine", "items": "same_query"},
        ),
        ({"key": "words", "average": "geometric"}, {"kind": "iqp", "key": "words", "average": "geometric"}),
    ],
)
def test_expand__a_share_of_the_sequence_is_a_cosine(entry: dict[str, Any], long: dict[str, Any]) -> None:
    assert expand({"iqp": [entry]}) == {"cross_features": [long]}


def test_expand__a_wrong_key_is_told_as_in_the_long_form() -> None:
    with pytest.raises(ConfigError, match=r"cross_features.*engagment"):
        parse_config(SearchSchema, schema(iqp=[{"key": "all", "engagment": "click"}]), "test")


@pytest.mark.parametrize("value", [3, "query", {"key": "query"}])
def test_expand__anything_but_a_list_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="iqp"):
        parse_config(SearchSchema, schema(iqp=value), "test")

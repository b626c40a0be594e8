"""SearchSchema: every mistake has its message, and all are reported together."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import ConfigError, parse_config
from interactrank.cross_features import EngagementRateSettings
from interactrank.schema import SearchSchema, parse_duration
from interactrank.schema.tables import IdTable

GOOD: dict[str, Any] = {
    "events": {
        "item": "item_id",
        "query": "query",
        "time": "timestamp",
        "user": "user_id",
        "engagements": {"click": "clicks", "save": "saves"},
    },
    "items": {"id": "item_id"},
    "users": {"id": "user_id"},
    "features": {
        "request": [
            {"name": "query_id", "kind": "id", "column": "query", "table": "query"},
            {"name": "query_words", "kind": "words", "column": "query", "table": "word"},
            {"name": "age", "kind": "number", "column": "age", "file": "users"},
        ],
        "item": [
            {"name": "item", "kind": "id", "column": "item_id", "table": "item"},
            {"name": "title", "kind": "words", "column": "title", "table": "word"},
            {"name": "image", "kind": "vector", "column": "image", "dim": 8},
        ],
    },
    "tables": {"query": {"dim": 4}, "word": {"dim": 4}, "item": {"dim": 4}},
    "heads": [{"name": "like", "engagements": ["click", "save"]}],
    "sequence": {"item": "item", "query": "query_id"},
    "segments": {"country": "users"},
    "cross_features": [
        {"kind": "iqp", "engagement": "click", "window": "90d", "segment": "country"},
        {"kind": "bm25", "columns": ["title"]},
    ],
}


def changed(*overrides: str) -> dict[str, Any]:
    return apply_overrides(GOOD, overrides)


def mistakes(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(SearchSchema, values)
    return [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:]]


def test_the_good_schema() -> None:
    schema = parse_config(SearchSchema, GOOD)
    assert schema.head_names == ["like"]
    assert schema.sequence_engagements == ["click", "save"]
    assert schema.sequence_tables == {"item", "query"}
    assert schema.feature("title").table == "word"
    assert schema.cross_features[0].name == "query_click_90d_country"
    assert schema.cross_features[0].window_ms == 90 * 24 * 3_600_000
    assert schema.cross_features[1].name == "bm25_words_title"
    with pytest.raises(KeyError):
        schema.feature("nothing")


def test_a_schema_survives_the_way_through_json() -> None:
    schema = parse_config(SearchSchema, GOOD)
    assert parse_config(SearchSchema, schema.model_dump(mode="json")) == schema


def test_without_a_sequence_there_are_no_sequence_engagements_and_tables() -> None:
    schema = parse_config(SearchSchema, changed("sequence=null"))
    assert (schema.sequence_engagements, schema.sequence_tables) == ([], set())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # features
        (["features.item.1.name=item"], "features: 'item' is defined more than once"),
        (
            ["features.request.1.file=items"],
            "features.request 'query_words': a request has no column of the items file",
        ),
        (
            ["features.item.1.file=events"],
            "features.item 'title': an item feature comes from the items file, not events",
        ),
        (
            ["users=null", "segments={}", "cross_features=[]"],
            "features.request 'age': file users needs the section users",
        ),
        (["features.item.1.table=null"], "features.item.1: feature 'title' of kind words needs a table"),
        (["features.item.2.table=word"], "features.item.2: feature 'image' of kind vector takes no table"),
        (
            ["features.item.2.dim=null"],
            "features.item.2: feature 'image': dim goes with kind vector, and only there",
        ),
        (
            ["features.item.1.dim=3"],
            "features.item.1: feature 'title': dim goes with kind vector, and only there",
        ),
        (
            ["features.request.2={name: clicked, kind: number, column: clicks}"],
            "features.request 'clicked': column 'clicks' (events.engagements.click) is not known when the "
            "search is made; a model that sees it cannot be used",
        ),
        # tables
        (["features.item.1.table=wrod"], "feature 'title': no table 'wrod'; did you mean 'word'?"),
        (["features.item.1.table=zz"], "feature 'title': no table 'zz'; allowed: query, word, item"),
        (
            ["tables.spare={dim: 4}"],
            "tables: no feature uses 'spare'; remove it or name it in a feature",
        ),
        (
            ["tables.word.ids=hash"],
            "tables.word: rows is missing: ids: hash needs the table's size, such as rows: 100000",
        ),
        (
            ["tables.word.rows=9"],
            "tables.word: rows goes with ids: hash or managed (a vocabulary counts its own rows)",
        ),
        (
            ["tables.word={dim: 4, ids: hash, rows: 9, min_count: 2}"],
            "tables.word: min_count goes with ids: vocabulary (a table of given rows counts no values)",
        ),
        (
            ["tables.word={dim: 4, ids: hash, rows: 9, max_rows: 2}"],
            "tables.word: max_rows goes with ids: vocabulary (a table of given rows counts no values)",
        ),
        (
            ["tables.word={dim: 4, ids: managed}"],
            "tables.word: rows is missing: ids: managed needs the table's size, such as rows: 100000",
        ),
        (
            ["tables.word={dim: 4, ids: hash, rows: 9, eviction: lru}"],
            "tables.word: eviction goes with ids: managed",
        ),
        (["tables.word={dim: 4, buckets: 4}"], "tables.word: buckets goes with ids: managed"),
        (
            ["tables.word={dim: 4, ids: managed, rows: 100}"],
            "tables.word: 100 rows do not make 8 buckets of the same size, with 2 rows or more each; take a "
            "multiple of 8, or other buckets",
        ),
        (
            ["tables.word={dim: 4, ids: managed, rows: 8, min_count: 2}"],
            "tables.word: min_count goes with ids: vocabulary (a table of given rows counts no values)",
        ),
        (
            ["tables.item.pooling=sum"],
            "tables.item.pooling: the user sequence looks up single rows and pools none; leave it out",
        ),
        (
            ["features.item.1.table=item"],
            "feature 'title': table 'item' is the user sequence's, in which a value has one row; kind "
            "words needs a table of its own",
        ),
        (["tables.word.dim=0"], "tables.word.dim: input should be greater than or equal to 4, found 0"),
        (["tables.word.dim=6"], "tables.word.dim: input should be a multiple of 4, found 6"),
        (
            ["sequence.query=query_id", "tables.query.dim=8"],
            "sequence: the tables of its item and query need the same dim; they have item 4, query 8",
        ),
        # engagements
        (["heads.0.engagements.0=clik"], "head 'like': no engagement 'clik'; did you mean 'click'?"),
        (["heads.0.unless=[zz]"], "head 'like': no engagement 'zz'; allowed: click, save"),
        (["label_weights={clic: 2}"], "label_weights: no engagement 'clic'; did you mean 'click'?"),
        (["label_weights={click: 0}"], "label_weights.click is 0.0; it must be above 0"),
        (
            ["cross_features.0.engagement=svae"],
            "cross_features 'query_svae_90d_country': no engagement 'svae'; did you mean 'save'?",
        ),
        (["sequence.engagements=[clic]"], "sequence: no engagement 'clic'; did you mean 'click'?"),
        (
            ["heads=[{name: a, engagements: [click]}, {name: a, engagements: [save]}]"],
            "heads: two heads have the same name",
        ),
        # sequence
        (
            ["sequence.item=title"],
            "sequence.item: 'title' is not an item feature of kind id; did you mean 'item'?",
        ),
        (
            ["sequence.item=itme"],
            "sequence.item: 'itme' is not an item feature of kind id; did you mean 'item'?",
        ),
        (
            ["sequence.query=query_words"],
            "sequence.query: 'query_words' is not a request feature of kind id; did you mean 'query_id'?",
        ),
        (
            ["sequence.end=session"],
            "sequence.end: session needs events.session, the column of the session",
        ),
        # cross features
        (
            ["cross_features.0.segment=county"],
            "cross_features 'query_click_90d_county': no segment 'county'; did you mean 'country'?",
        ),
        (
            ["cross_features.0.window=90m"],
            "cross_features.0: window: '90m' is not a duration; write a positive number and h, d, w or y, "
            "such as 90d",
        ),
        (
            ["cross_features.0.window=0d"],
            "cross_features.0: window: '0d' is not a duration; write a positive number and h, d, w or y, "
            "such as 90d",
        ),
        (["cross_features.0.windw=3d"], "cross_features.0: windw: unknown key; did you mean 'window'?"),
        (["cross_features.0={kind: iqp, key: words}"], "cross_features.0: engagement: required, but missing"),
        (
            ["cross_features.0.key=wrds"],
            "cross_features.0: key: input should be 'query', 'compact', 'words', 'trigrams', 'user' or "
            "'all', found 'wrds'; did you mean 'words'?",
        ),
        (
            ["cross_features.0.average=geometric"],
            "cross_features.0: average: geometric needs a key with several values, not 'query'",
        ),
        (
            ["sequence=null", "cross_features.0={kind: item_cosine}"],
            "cross_features 'item_cosine_sequence': needs the section sequence",
        ),
        (
            ["cross_features.0={kind: item_cosine, items: same_query}", "sequence.query=null"],
            "cross_features 'item_cosine_same_query': items: same_query needs sequence.query, the query of "
            "an event",
        ),
        (
            ["cross_features.0={kind: query_cosine}", "sequence.query=null"],
            "cross_features 'query_cosine_sequence': needs sequence.query, the query of an event",
        ),
        (
            ["cross_features.0.kind=iqb"],
            "cross_features.0: no kind 'iqb' of cross feature; did you mean 'iqp'? (a kind of your own "
            "must be registered first: name its module under plugins, or import it)",
        ),
        (
            ["cross_features.0={key: query}"],
            "cross_features.0: needs a kind; allowed: iqp, item_cosine, query_cosine, bm25",
        ),
        (
            ["cross_features.0=query"],
            "cross_features.0: expected settings such as {kind: iqp, key: query}, found 'query'",
        ),
        (
            ["cross_features=[{kind: bm25, columns: [title]}, {kind: bm25, columns: [title], k1: 2}]"],
            "cross_features: 'bm25_words_title' is defined more than once",
        ),
        # files
        (
            ["segments.clicks=events"],
            "segments.clicks: the column (events.engagements.click) is not known when the search is made",
        ),
        (["exclude_repeat=true"], "exclude_repeat: unknown key; did you mean 'exclude_repeats'?"),
        (["features.item.0.colunm=x"], "features.item.0.colunm: unknown key; did you mean 'column'?"),
    ],
)
def test_each_mistake(overrides: list[str], expected: str) -> None:
    found = mistakes(changed(*overrides))
    assert any(m.startswith(expected) for m in found), found  # other tests register kinds of their own
    assert not any("stand_in" in m for m in found)
    if overrides[0].startswith(
        ("tables.word.dim", "cross_features.0.window", "heads.0", "exclude_repeat", "features.item.0")
    ):
        assert found == [expected]  # and nothing that only follows from it


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("events.engagements={}", "events.engagements"),
        ("events.engagements={Click: clicks}", "events.engagements.Click"),
        ("heads=[]", "heads"),
        ("features.item=[]", "features.item"),
        ("sequence.engagements=[]", "sequence.engagements"),
    ],
)
def test_a_mistake_that_leaves_names_unknown_is_the_only_one(override: str, place: str) -> None:
    found = [m.split(":")[0] for m in mistakes(changed(override))]
    assert found[0] == place
    assert not any(m.startswith(("head ", "label_weights", "sequence:")) for m in found)


def test_a_cross_feature_defined_twice() -> None:
    values = copy.deepcopy(GOOD)
    values["cross_features"] += values["cross_features"][:1]
    assert mistakes(values) == ["cross_features: 'query_click_90d_country' is defined more than once"]


def test_without_a_user_column() -> None:
    values = changed("events.user=null", "exclude_repeats=true", "cross_features.0.key=user")
    assert set(mistakes(values)) == {
        "sequence: needs events.user, the column of who searched",
        "users: needs events.user, to join the users file",
        "exclude_repeats: needs events.user",
        "cross_features 'user_click_90d_country': key user needs events.user",
    }


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "features.request.0={name: q, kind: number, column: query}",
            "features.request 'q': kind number reads numbers, but column 'query' (events.query) holds text; "
            "use kind id, words or trigrams",
        ),
        (
            "features.item.0={name: i, kind: vector, dim: 4, column: item_id}",
            "features.item 'i': kind vector reads numbers, but column 'item_id' (items.id) holds ids; use "
            "kind id, words or trigrams",
        ),
        (
            "features.request.0={name: u, kind: number, column: user_id, file: users}",
            "features.request 'u': kind number reads numbers, but column 'user_id' (users.id) holds ids; use "
            "kind id, words or trigrams",
        ),
    ],
)
def test_kinds__no_number_from_a_column_of_text_or_ids(override: str, expected: str) -> None:
    assert expected in mistakes(changed(override))


def test_without_a_users_section() -> None:
    assert set(mistakes(changed("users=null"))) == {
        "features.request 'age': file users needs the section users",
        "segments.country: file users needs the section users",
    }


def test_all_wrong_keys_and_values_at_once() -> None:
    values = changed(
        "events.tme=x",
        "features.item.1.kind=wordz",
        "features.request.0.tabel=query",
        "tables.item.dim=-4",
        "sequence.length=0",
        "cross_features.1.b=2",
    )
    del values["features"]["request"][0]["table"]
    assert set(mistakes(values)) == {
        "events.tme: unknown key; did you mean 'time'?",
        "features.item.1.kind: input should be 'id', 'words', 'trigrams', 'number' or 'vector', found "
        "'wordz'; did you mean 'words'?",
        "features.request.0.tabel: unknown key; did you mean 'table'?",
        "tables.item.dim: input should be greater than or equal to 4, found -4",
        "sequence.length: input should be greater than or equal to 1, found 0",
        "cross_features.1: b: input should be less than or equal to 1, found 2",
    }


def test_all_mistakes_between_values_at_once() -> None:
    values = changed(
        "heads.0.engagements.0=clik",
        "sequence.item=itm",
        "cross_features.0.window=soon",
        "cross_features.0.segment=city",
    )
    assert set(mistakes(values)) == {
        "head 'like': no engagement 'clik'; did you mean 'click'?",
        "sequence.item: 'itm' is not an item feature of kind id; did you mean 'item'?",
        "cross_features.0: window: 'soon' is not a duration; write a positive number and h, d, w or y, "
        "such as 90d",
        "cross_features 'query_click_soon_city': no segment 'city'; allowed: country",
    }


@pytest.mark.parametrize(
    ("text", "hours"), [("1h", 1), ("36 h", 36), ("7d", 168), ("2w", 336), ("1y", 8760), (" 3d ", 72)]
)
def test_durations(text: str, hours: int) -> None:
    assert parse_duration(text) == hours * 3_600_000


@pytest.mark.parametrize("text", ["", "d", "-1d", "0h", "1.5d", "1m", "90"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is not a duration; write a positive number"):
        parse_duration(text)


def test_names_of_cross_features() -> None:
    rate = EngagementRateSettings(key="words", engagement="click", average="geometric")
    assert rate.name == "words_click_geometric"


def test_a_schema_is_read_back_as_it_was_written() -> None:
    schema = SearchSchema.model_validate(GOOD)
    written = schema.model_dump()
    assert written["cross_features"][0]["window"] == "90d"
    assert SearchSchema.model_validate(written) == schema


def test_tables_that_are_not_managed_are_written_as_before() -> None:
    """A prepared log is known by its schema, and stays valid."""
    assert set(IdTable(dim=4).model_dump()) == {"dim", "ids", "min_count", "max_rows", "rows", "pooling"}
    managed = IdTable(dim=4, ids="managed", rows=16, eviction="lru")
    assert managed.model_dump()["eviction"] == "lru"
    assert IdTable.model_validate(managed.model_dump()) == managed

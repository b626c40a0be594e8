"""Shares, rates and counts of items and their fields, exact and in tiles, against loops over the events."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.core.settings import ConfigError, parse_config
from interactrank.cross_features import CrossFeatures, RequestKeys, check_feature, features_of, per_row
from interactrank.cross_features.engagement_rate import EngagementRate
from interactrank.cross_features.item_fields import ItemFields
from interactrank.cross_features.requests import EngagementRows, StoreInputs
from interactrank.schema import SearchSchema

HOUR, N = 3_600_000, 4
GENRES = [["war", "drama"], ["drama"], None, ["war"]]  # of the N items


def schema(*features: dict, impressions: bool | str = True) -> SearchSchema:
    values = {
        "events": {
            "item": "i", "query": "q", "time": "t", "user": "u", "engagements": {"click": "c"},
            "impressions": impressions,
        },
        "items": {"id": "i"},
        "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
        "tables": {},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "segments": {"country": "events"},
        "cross_features": [{"kind": "iqp", "key": "query", "engagement": "click", **f} for f in features],
    }  # fmt: skip
    return parse_config(SearchSchema, values, "schema")


Event = tuple[int, int, int, bool]  # key, item, hour of the impression, and whether it was clicked then


def inputs(rows: list[tuple[int, int, int]]) -> StoreInputs:
    key, item, time = np.array(rows, np.int64).reshape(-1, 3).T
    by_pair, by_key = np.lexsort((time, item, key)), np.lexsort((time, key))
    cut = len(rows) // 2  # two blocks
    return StoreInputs(
        lambda: iter(EngagementRows(key[at], item[at], time[at]) for at in (by_pair[:cut], by_pair[cut:])),
        lambda: iter([time[by_key][:cut], time[by_key][cut:]]),
        {},
        N,
    )


def opened(folder: Path, wanted: SearchSchema, events: list[Event]) -> CrossFeatures:
    features = features_of(wanted)
    fields = ItemFields.from_column(GENRES)
    stores = {}
    for feature in features:
        for name in feature.stores:
            rows = [(k, i, t * HOUR) for k, i, t, clicked in events if clicked or "SHOWN" in name]
            if feature.settings.field_columns:
                rows = [(k, v, t) for k, i, t in rows for v in fields.of([i]).values.tolist()]
            feature.build(folder / name, inputs(rows))
            stores[name] = feature.open(folder / name)
    return CrossFeatures(features, stores=stores, num_items=N, fields={"genre": fields})


def keys(*asked: tuple[list[int], int]) -> RequestKeys:
    time = np.array([hour * HOUR for _, hour in asked])
    return RequestKeys({"iqp-query": per_row([k for k, _ in asked])}, time, time)


def counted(events: list[Event], of: list[int], item: int, start: int, end: int) -> tuple[int, int]:
    """(E, I) of an item under the keys ``of`` at hours start..end, without the end."""
    hits = [clicked for k, i, t, clicked in events if k in of and i == item and start <= t < end]
    return sum(hits), len(hits)


DRAWN = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, N - 1), st.integers(0, 12), st.booleans()), max_size=40
)
WAYS = [
    {"statistic": "rate"},
    {"statistic": "count"},
    {"statistic": "rate", "window": "4h"},
    {"statistic": "rate", "resolution": "2h"},
    {"statistic": "count", "resolution": "2h", "window": "4h"},
    {"statistic": "rate", "of": "genre"},
    {"statistic": "count", "of": "genre", "resolution": "3h"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "_".join(map(str, way.values())))
@given(
    events=DRAWN, asked=st.tuples(st.lists(st.integers(0, 3), max_size=2, unique=True), st.integers(0, 13))
)
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_a_loop(
    tmp_path_factory: pytest.TempPathFactory, way: dict, events: list[Event], asked: tuple[list[int], int]
) -> None:
    cross = opened(tmp_path_factory.mktemp("log"), schema(way), events)
    found = cross.look_up(keys(asked))
    some = cross.look_up(keys(asked), per_row([[2, 0]]))
    of, hour = asked
    tile = int(way.get("resolution", "1h")[:-1])
    end = hour - hour % tile  # tiles that are over
    start = (hour - int(way["window"][:-1])) // tile * tile if "window" in way else -99
    by_item = np.array([counted(events, of, item, start, end) for item in range(N)], float)
    if "of" in way:  # a genre's counts are those of its items, and an item has the mean of its genres
        genre = {g: sum(by_item[i] for i in range(N) if g in (GENRES[i] or [])) for g in ("war", "drama")}
        none = np.zeros(2)
        by_item = np.array([np.mean([genre[g] for g in item], axis=0) if item else none for item in GENRES])
    if way["statistic"] == "rate":
        assert found.counts.tolist() == by_item.tolist()
        assert some.counts.tolist() == by_item[[2, 0]].tolist()
    else:
        assert found.number[:, 0].tolist() == by_item[:, 0].tolist()
        assert some.number[:, 0].tolist() == by_item[[2, 0], 0].tolist()


def test_a_share_of_genres_by_hand(tmp_path: Path) -> None:
    """Clicks: item 0 (war, drama) and item 1 (drama), so of 3 genre clicks 1 went to war and 2 to drama."""
    cross = opened(tmp_path, schema({"of": "genre"}), [(7, 0, 1, True), (7, 1, 2, True), (7, 3, 2, False)])
    found = cross.look_up(keys(([7], 5)))
    assert found.rate[:, 0].tolist() == pytest.approx([(1 / 3 + 2 / 3) / 2, 2 / 3, 0, 1 / 3])
    assert found.support[0, 0] == 3


def test_stores_are_shared() -> None:
    share, rate, of_genre, tiles = features_of(
        schema(
            {},
            {"statistic": "rate"},
            {"statistic": "rate", "of": "a/b"},
            {"resolution": "1d", "window": "2d"},
        )
    )
    assert share.stores == ("iqp-query-click",)
    assert rate.stores == ("iqp-query-click", "iqp-query-SHOWN")
    assert of_genre.stores == ("iqp-query-click-of_a%2Fb", "iqp-query-SHOWN-of_a%2Fb")
    assert tiles.stores == ("iqp-query-click-per_1d",)
    assert {f.key_names for f in (share, rate, of_genre, tiles)} == {("iqp-query",)}


RATES = [
    {"statistic": "rate", "segment": "country", "window": "7d"},
    {"statistic": "rate", "window": "7d"},
    {"statistic": "rate"},
    {"statistic": "rate", "key": "all"},
    {"statistic": "rate", "key": "all", "of": "genre"},
    {"statistic": "rate", "of": "genre"},
]


def test_a_rate_backs_off_to_the_next_wider_one() -> None:
    rates = features_of(schema(*RATES))
    segment, window, query, item, genre, query_genre = rates
    wider = {f.name: getattr(f.back_off(rates), "name", None) for f in rates}
    assert wider == {
        segment.name: window.name,
        window.name: query.name,
        query.name: item.name,
        item.name: genre.name,
        genre.name: None,
        query_genre.name: genre.name,
    }
    assert query.back_off([query, genre]) is genre  # the model does not read what is in between
    assert query.back_off([query]) is None


@pytest.mark.parametrize("way", [{}, *RATES, *WAYS], ids=lambda way: "_".join(map(str, way.values())))
def test_nothing_at_or_after_the_request_counts(way: dict) -> None:
    """Engagements and impressions are planted at and after the moment; check_feature compares."""
    made_up = schema(way)
    check_feature(features_of(made_up)[0], made_up)


def test_a_feature_that_sees_the_future_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = schema({"statistic": "rate"})
    look_up = EngagementRate.look_up

    def late(self, lookup, store):
        later = RequestKeys(lookup.requests.keys, lookup.requests.time + 1, lookup.requests.sequence_end + 1)
        return look_up(self, type(lookup)(later, lookup.candidates, lookup.num_items), store)

    monkeypatch.setattr(EngagementRate, "look_up", late)
    with pytest.raises(ValueError, match="values change with engagements at or after the request"):
        check_feature(features_of(made_up)[0], made_up)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (
            {"statistic": "rate", "_impressions": False},
            "statistic rate divides by impressions, which this log",
        ),
        ({"of": "i"}, "of: 'i' is the item itself; leave it out"),
        ({"resolution": "1 fortnight"}, "resolution: .*or exact"),
        ({"resolution": "1d", "window": "36h"}, "a window of 36h is not a whole number of tiles of 1d"),
        ({"key": "words", "average": "geometric", "of": "genre"}, "geometric goes with the share of items"),
        ({"statistic": "rates"}, "statistic"),
    ],
)
def test_what_cannot_be_is_refused(feature: dict, message: str) -> None:
    impressions = feature.pop("_impressions", True)
    with pytest.raises(ConfigError, match=message):
        schema(feature, impressions=impressions)

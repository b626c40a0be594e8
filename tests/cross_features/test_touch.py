"""The user's own touches, against a loop over the events."""

from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.core.settings import ConfigError, parse_config
from interactrank.cross_features import CrossFeatures, RequestKeys, check_feature, features_of, per_row
from interactrank.cross_features.count_store import EngagementCountStore
from interactrank.cross_features.item_fields import ItemFields
from interactrank.schema import SearchSchema

MINUTE, N = 60_000, 4
BRANDS = [["x", "y"], ["x"], None, ["y"]]


def schema(*features: dict, **columns: str | None) -> SearchSchema:
    values = {
        "events": {
            "item": "i", "query": "q", "time": "t", "user": "u", "session": "s",
            "engagements": {"click": "c", "view": "v"}, **columns,
        },
        "items": {"id": "i"},
        "features": {"item": [{"name": "price", "kind": "number", "column": "price"}]},
        "tables": {},
        "heads": [{"name": "click", "engagements": ["click"]}],
        "cross_features": [{"kind": "touch", **f} for f in features],
    }  # fmt: skip
    return parse_config(SearchSchema, values, "schema")


ALL = [
    {"statistic": s, **({"of": "brand"} if of else {})}
    for of in (0, 1)
    for s in ("recency", "order", "count")
]
Event = tuple[int, int, int]  # user, item, minute


def opened(folder: Path, events: list[Event]) -> CrossFeatures:
    features, fields = features_of(schema(*ALL)), ItemFields.from_column(BRANDS)
    stores = {}
    for feature in features:
        rows = [(u, i, t * MINUTE) for u, i, t in events]
        if feature.settings.of:
            rows = [(u, v, t) for u, i, t in rows for v in fields.of([i]).values.tolist()]
        columns = np.array(rows, np.int64).reshape(-1, 3).T
        stores[feature.store] = EngagementCountStore.from_events(folder / str(feature.store), *columns)
    return CrossFeatures(features, stores=stores, num_items=N, fields={"brand": fields})


def expected(
    events: list[Event], user: int | None, things: list, thing: object, end: int, now: int
) -> list[float]:
    """(recency, order, count) of a thing; ``things`` are those of each item."""
    times: dict[object, list[int]] = {}
    for u, i, t in events:
        if u == user and t < end:
            for of_item in things[i] or []:
                times.setdefault(of_item, []).append(t)
    if thing not in times:
        return [np.nan, 0, 0]
    last = max(times[thing])
    later = sum(max(t) > last for t in times.values())
    return [-log(1 + now - last), 1 / (1 + later), len(times[thing])]


@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, N - 1), st.integers(0, 9)), max_size=25),
    asked=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=3
    ),
)
@settings(max_examples=60, deadline=None)
def test_touches_are_those_of_a_loop(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], asked: list[tuple[int, int, int]]
) -> None:
    """Requests of user 3 have no user; a sequence ends some minutes before its request."""
    cross = opened(tmp_path_factory.mktemp("touch"), events)
    users = [None if u == 3 else u for u, _, _ in asked]
    keys = RequestKeys(
        {"touch-user": per_row([[] if u is None else [u] for u in users])},
        np.array([now * MINUTE for _, now, _ in asked]),
        np.array([(now - before) * MINUTE for _, now, before in asked]),
    )
    whole = cross.look_up(keys).number.reshape(len(asked), N, 6)
    some = cross.look_up(keys, per_row([[3, 0]] * len(asked))).number.reshape(len(asked), 2, 6)
    assert np.array_equal(some, whole[:, [3, 0]], equal_nan=True)
    for r, (_, now, before) in enumerate(asked):
        for item in range(N):
            own = expected(events, users[r], [[i] for i in range(N)], item, now - before, now)
            assert whole[r, item, :3].tolist() == pytest.approx(own, nan_ok=True)
            of = [expected(events, users[r], BRANDS, b, now - before, now) for b in BRANDS[item] or []]
            brand = [
                np.max([o[0] for o in of if not np.isnan(o[0])], initial=-np.inf),
                max([o[1] for o in of], default=0),
                np.mean([o[2] for o in of]) if of else 0,
            ]
            brand[0] = np.nan if np.isneginf(brand[0]) else brand[0]
            assert whole[r, item, 3:].tolist() == pytest.approx(brand, nan_ok=True)


def test_by_hand(tmp_path: Path) -> None:
    """User 7 touches item 0, then 1 twice, then 0 again: item 0 is the last, item 1 the one before."""
    cross = opened(tmp_path, [(7, 0, 1), (7, 1, 2), (7, 1, 3), (7, 0, 6), (8, 2, 9)])
    now = np.array([10 * MINUTE])
    recency, order, count = cross.look_up(RequestKeys({"touch-user": per_row([[7]])}, now, now)).number.T[:3]
    assert recency[:2].tolist() == pytest.approx([-log(5), -log(8)])
    assert np.isnan(recency[2:]).all()
    assert order.tolist() == [1, 0.5, 0, 0]
    assert count.tolist() == [2, 2, 0, 0]


@pytest.mark.parametrize(
    "way",
    [*ALL, *({**w, "within": "session", "engagement": "view"} for w in ALL)],
    ids=lambda w: "_".join(w.values()),
)
def test_nothing_at_or_after_the_request_counts(way: dict) -> None:
    made_up = schema(way)
    check_feature(features_of(made_up)[0], made_up)


def test_names_and_stores() -> None:
    features = features_of(
        schema({}, {"statistic": "order"}, {"engagement": "view", "of": "b/c", "within": "session"})
    )
    assert [f.name for f in features] == ["touch_recency", "touch_order", "touch_recency_view_of_b/c_session"]
    assert [f.store for f in features] == ["touch-user-ANY"] * 2 + ["touch-session-view-of_b%2Fc"]


@pytest.mark.parametrize(
    ("feature", "columns", "message"),
    [
        ({"engagement": "clik"}, {}, "no engagement 'clik'; did you mean 'click'"),
        ({}, {"user": None}, "needs events.user"),
        ({"within": "session"}, {"session": None}, "within: session needs events.session"),
        ({"of": "i"}, {}, "of: 'i' is the item itself"),
        ({"statistic": "often"}, {}, "statistic"),
    ],
)
def test_what_cannot_be_is_refused(feature: dict, columns: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        schema(feature, **columns)

"""The simulated site: its days, its bounds, and the log of what was before."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from interactrank.core.settings import ConfigError
from interactrank.data.simulator import SimulationSettings, simulate
from interactrank.experiments.loop.site import Site, requests_of
from tests.trained import config

SETTINGS = SimulationSettings(
    users=40, items=80, intents=6, topics=2, requests=300, days=6, candidates_min=5, candidates_max=6, pool=8
)


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(SETTINGS, days=2, shown=3)


def test_the_last_days_are_served_and_the_others_logged(site: Site, tmp_path: Path) -> None:
    whole = pq.read_table(simulate(SETTINGS, tmp_path / "whole").folder / "events.parquet")
    site.write_past(tmp_path / "past")
    past = pq.read_table(tmp_path / "past" / "events.parquet")
    assert past.equals(whole.slice(0, len(past)))  # row for row what `simulate` writes
    for name in ("items.parquet", "users.parquet"):
        assert (tmp_path / "past" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    days = site.served()
    assert [day.name for day in days] == ["2024-01-05", "2024-01-06"]
    requests = np.unique(whole["request_id"].to_numpy())
    numbers = [n for day in days for n in day.searches.number.tolist()]
    assert np.unique(past["request_id"].to_numpy()).tolist() + numbers == requests.tolist()
    # Retrieval finds what the log would have shown, in its order.
    first = days[0].searches.number[0]
    logged = whole.filter(whole["request_id"].to_numpy() == first)
    assert days[0].items[0] == list(map(str, logged["item_id"].to_pylist()))
    assert site.moment(0) == "2024-01-05T00:00:00+00:00"
    assert site.moment(2) == "2024-01-07T00:00:00+00:00"


def test_lists_are_found_in_the_pool(site: Site) -> None:
    day = site.served()[0]
    lists = [items[::-1][:3] for items in day.items]
    slots = day.slots(lists)
    pool = site.world.intents.pool[day.searches.intent[:, None], slots]
    assert pool.astype(str).tolist() == lists


def test_bounds_against_every_list_that_could_be_shown(site: Site) -> None:
    day = site.served()[0]
    best = site.respond(day, site.optimum(day)).probability.sum(axis=1)
    chance = site.chance(day)
    for request in range(10):
        rows = [np.arange(len(day.searches)) == request]
        candidates = day.slot[request][day.found[request]]
        worth = []
        for order in permutations(candidates.tolist(), 3):
            slots = site.optimum(day)
            slots[rows[0]] = order
            worth.append(site.respond(day, slots).probability[request].sum())
        assert best[request] == pytest.approx(max(worth), rel=1e-5)
        assert chance[request] == pytest.approx(np.mean(worth), rel=1e-5)


def test_the_same_list_has_the_same_responses(site: Site) -> None:
    day, other = site.served()
    first, second = (site.respond(day, day.slot[:, :3]) for _ in range(2))
    assert (first.engaged == second.engaged).all()
    assert site.respond(other, other.slot[:, :3]).engaged.shape == (len(other.searches), 3)


def test_searches_are_requests_of_the_schema(site: Site) -> None:
    day, schema = site.served()[0], config().search
    request = requests_of(site, day, schema)[0]
    assert set(request) == {schema.events.query, schema.events.user, schema.events.time}
    assert request[schema.events.user] == day.searches.user[0]


def test_what_cannot_be_served() -> None:
    with pytest.raises(ConfigError, match=r"simulate\.days is 6; to serve 6 days"):
        Site(SETTINGS, days=6, shown=3)
    with pytest.raises(ConfigError, match="fewer than the 9 places of a list; lower --shown"):
        Site(SETTINGS, days=2, shown=9)
    with pytest.raises(ConfigError, match=r"nobody searches on 2024-01-0\d; raise simulate.requests"):
        Site(SETTINGS.model_copy(update={"requests": 2}), days=3, shown=3).served()

"""What users do with a list: the same truth for the log's own lists and for those of a ranker."""

from __future__ import annotations

import numpy as np
import pytest

from interactrank.data.simulator import SimulationSettings
from interactrank.data.simulator.behaviour import blocks, retrieve
from interactrank.data.simulator.responses import affinity, attraction, respond
from interactrank.data.simulator.searches import DAY, Searches, search_blocks
from interactrank.data.simulator.world import World, build_world

SETTINGS = SimulationSettings(users=60, items=120, intents=12, topics=4, requests=2000)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(SETTINGS)


@pytest.fixture(scope="module")
def searches(world: World) -> Searches:
    return next(search_blocks(SETTINGS, world))[0]


def test_probability_of_a_list_by_hand(world: World, searches: Searches) -> None:
    one, slot = searches.take([7]), np.array([[5, 0, 30]])
    found = respond(SETTINGS, world, one, slot, np.random.default_rng(0)).probability[0]
    user, intent = int(one.user[0]), int(one.intent[0])
    for place, s in enumerate(slot[0]):
        item = world.intents.pool[intent, s]
        style = int(world.items.style[item])
        suits = affinity(
            SETTINGS,
            pair=np.array([intent * SETTINGS.pool + s]),
            country=world.users.country[[user]],
            gender=world.users.gender[[user]],
            day=(one.time - SETTINGS.start.timestamp() * 1000) / DAY,
        )[0]
        logit = (
            world.intents.utility[intent, s]
            + SETTINGS.taste_strength * world.users.taste[user, style]
            + SETTINGS.interest_strength * (style == one.interest[0])
            + SETTINGS.affinity_strength * suits
        )
        examined = (place + 1) ** -SETTINGS.position_bias
        expected = examined / (1 + np.exp(-logit)) * (1 - world.items.short_click[item])
        assert found[place] == pytest.approx(expected, rel=1e-4)


def test_attraction_belongs_to_the_item_and_not_to_its_place(world: World, searches: Searches) -> None:
    slot = np.tile(np.arange(SETTINGS.pool), (len(searches), 1))
    forward = attraction(SETTINGS, world, searches, slot)
    assert (forward[:, ::-1] == attraction(SETTINGS, world, searches, slot[:, ::-1])).all()


def test_the_log_and_the_responder_are_one(world: World) -> None:
    """The log's lists, shown again by its own source of chance, have the responses that the log holds."""
    (block,) = blocks(SETTINGS, world)
    (searches, rng), *_ = search_blocks(SETTINGS, world)
    slot, shown = retrieve(SETTINGS, world.intents.match[searches.intent], rng)
    again = respond(SETTINGS, world, searches, slot, rng)
    assert (block.shown == shown).all()
    for name in ("probability", "click", "save", "long_click", "short_click"):
        assert (getattr(block.responses, name) == getattr(again, name)).all()


def test_the_log_and_the_responder_agree_in_distribution(world: World) -> None:
    """By another source of chance: as many clicks, saves, long and short clicks at each depth of the list."""
    (block,) = blocks(SETTINGS, world)
    searches = block.searches
    place = {(int(i), int(x)): s for i, row in enumerate(world.intents.pool) for s, x in enumerate(row)}
    pairs = zip(searches.intent.repeat(30).tolist(), block.item.ravel().tolist(), strict=True)
    slot = np.array([place[pair] for pair in pairs]).reshape(block.item.shape)
    again = respond(SETTINGS, world, searches, slot, np.random.default_rng(99))
    assert (again.probability == block.responses.probability).all()
    for name in ("click", "save", "long_click", "short_click", "engaged"):
        first, second = getattr(block.responses, name), getattr(again, name)
        for places in (slice(0, 3), slice(3, 10), slice(10, 30)):
            a, b = first[:, places], second[:, places]
            pooled = (a.mean() + b.mean()) / 2
            deviation = np.sqrt(2 * pooled * (1 - pooled) / a.size)
            # 15 comparisons at 4 deviations fail by chance once in 1,000.
            assert abs(a.mean() - b.mean()) < 4 * deviation + 1e-9


def test_engaged_is_what_the_probability_is_of(world: World, searches: Searches) -> None:
    slot = np.tile(np.arange(10), (len(searches), 1))
    found = respond(SETTINGS, world, searches, slot, np.random.default_rng(1))
    p = found.probability.astype(np.float64)
    assert abs(found.engaged.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    assert (found.engaged == ((found.click | found.save | found.long_click) & ~found.short_click)).all()


def test_searches_are_taken_joined_and_read(world: World, searches: Searches) -> None:
    parts = [searches.take(slice(0, 5)), searches.take(np.arange(len(searches)) >= 5)]
    joined = Searches.joined(parts)
    assert len(joined) == len(searches)
    assert (joined.number == searches.number).all()
    texts = joined.texts(world)
    assert texts[:5] == parts[0].texts(world)
    plain = np.flatnonzero(searches.rare < 0)
    assert [texts[n] for n in plain[:20]] == [world.intents.query[q] for q in searches.query[plain[:20]]]
    rare = int(np.flatnonzero(searches.rare >= 0)[0])
    assert texts[rare].startswith(world.intents.query[searches.query[rare]] + " ")

"""What happens in the simulated world: who searches for what and when, what is shown, what is engaged with.

Requests are made in blocks of a fixed number, in order of time. A block depends on the seed, on its number
and on the state that the users carry over from earlier blocks, so memory does not grow with the log.

Shapes: R requests of a block, C most candidates of a request, P pool items of an intent, U users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactrank.data.simulator.settings import SimulationSettings
from interactrank.data.simulator.world import QUERY_SHARES, Floats, Ints, World

BLOCK = 4096
"""Requests of a block. A constant, not a setting: the log depends on it."""

DAY = 86_400_000  # milliseconds
_SESSION_GAP = 180_000  # mean milliseconds between the requests of a session

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Some requests in order of time, and their impressions.

    Attributes:
        first: number of the first request.
        user: int64 [R].
        time: int64 [R] milliseconds UTC.
        query: int64 [R] index into the world's query texts.
        rare: int64 [R] which rare word the query carries, too, -1 for none.
        interest: int64 [R] the style that the user is after.
        shown: bool [R, C] whether the slot holds an impression; the first ones of each row do.
        item: int64 [R, C].
        probability: float32 [R, C] of engagement, as ``engagement_probability`` defines it.
        click, save, long_click, short_click: bool [R, C].
    """

    first: int
    user: Ints
    time: Ints
    query: Ints
    rare: Ints
    interest: Ints
    shown: Bools
    item: Ints
    probability: Floats
    click: Bools
    save: Bools
    long_click: Bools
    short_click: Bools


def engagement_probability(*, logit: Floats, short_click: Floats, examination: Floats) -> Floats:
    """Return the probability that an impression is engaged with, given everything that nature knows.

    Engaged means (click or save or long_click) and not short_click. A user examines the position, is
    attracted with probability sigmoid(logit), and then either engages or clicks, regrets and returns (a short
    click). All impressions are independent given this probability, so that ranking by it gives the highest
    HIT@k that any ranker can reach, knowing even the position at which the item was logged.

    Args:
        logit: attraction, [...].
        short_click: share of the attracted users that regret, in [0, 1), [...].
        examination: probability that the position is looked at, in [0, 1], [...].

    Returns:
        examination * sigmoid(logit) * (1 - short_click), [...].

    Example::

        >>> half = engagement_probability(
        ...     logit=np.float32([0.0]), short_click=np.float32([0.2]), examination=np.float32([0.5])
        ... )
        >>> half.round(3).tolist()  # 0.5 * 0.5 * 0.8
        [0.20000000298023224]
    """
    return (examination / (1 + np.exp(-logit)) * (1 - short_click)).astype(np.float32)


def blocks(settings: SimulationSettings, world: World) -> Iterator[Block]:
    """Yield all requests of the log, block by block, in order of time.

    Args:
        settings: number of requests, time span, strengths, seed.
        world: users, items and intents.

    Yields:
        Blocks of ``BLOCK`` requests, the last one shorter.

    Example::

        >>> from interactrank.data.simulator.world import build_world
        >>> settings = SimulationSettings(users=5, items=60, intents=3, topics=2, requests=10)
        >>> [block.item.shape for block in blocks(settings, build_world(settings))]
        [(10, 30)]
    """
    interests = Interests(settings)
    start = round(settings.start.timestamp() * 1000)
    span = settings.days * DAY
    for first in range(0, settings.requests, BLOCK):
        count = min(BLOCK, settings.requests - first)
        rng = np.random.default_rng([settings.seed, 1, first // BLOCK])
        since = start + span * first / settings.requests
        until = start + span * (first + count) / settings.requests
        user, time = _sessions(settings, world, since, until, count, rng)
        moment = (time - start) / span
        intent, query, rare = _searches(settings, world, moment, rng)
        interest = interests.at(user, time, rng)

        slot, shown = _retrieve(settings, world.intents.match[intent], rng)
        item = world.intents.pool[intent[:, None], slot]
        logit = world.intents.utility[intent[:, None], slot]
        logit = logit + settings.taste_strength * world.users.taste[user[:, None], world.items.style[item]]
        logit += settings.interest_strength * (world.items.style[item] == interest[:, None])
        logit += settings.affinity_strength * affinity(
            settings,
            pair=intent[:, None] * settings.pool + slot,
            country=world.users.country[user][:, None],
            gender=world.users.gender[user][:, None],
            day=((time - start) / DAY)[:, None],
        )
        position = np.arange(1, settings.candidates_max + 1)
        examination = np.broadcast_to(position**-settings.position_bias, item.shape).astype(np.float32)
        short_click = world.items.short_click[item]
        probability = engagement_probability(
            logit=logit.astype(np.float32), short_click=short_click, examination=examination
        )
        actions = _act(probability, short_click, world.items.quality[item], rng)
        yield Block(first, user, time, query, rare, interest, shown, item, probability, *actions)


class Interests:
    """The style that each user is after now: it moves on at random, and shows only in what the user does.

    Args:
        settings: number of users and styles, mean days until an interest moves on.
    """

    def __init__(self, settings: SimulationSettings) -> None:
        rng = np.random.default_rng([settings.seed, 2])
        self._settings = settings
        self._style = rng.integers(settings.styles, size=settings.users)
        self._time = np.full(settings.users, np.iinfo(np.int64).min // 2)

    def at(self, user: Ints, time: Ints, rng: np.random.Generator) -> Ints:
        """Return the interest of each request's user at that time; remembers it for the next call.

        Args:
            user: int64 [R].
            time: int64 [R] milliseconds, ascending, none before those of earlier calls.
            rng: source of chance.

        Returns:
            int64 [R] styles.
        """
        chance, fresh = rng.random(len(user)), rng.integers(self._settings.styles, size=len(user))
        order = np.argsort(user, kind="stable")
        who, when = user[order], time[order]
        opens = np.r_[True, who[1:] != who[:-1]]  # the first request of each user in this call
        before = np.where(opens, self._time[who], np.r_[0, when[:-1]])
        stays = np.exp(-(when - before) / (self._settings.interest_days * DAY))
        moves = chance[order] >= stays
        value = np.where(moves, fresh[order], self._style[who])
        # Each request takes the value of the latest move, or of the user's first request here.
        source = np.maximum.accumulate(np.where(moves | opens, np.arange(len(who)), 0))
        value = value[source]
        self._style[who], self._time[who] = value, when  # the last assignment of a user holds
        interest = np.empty_like(value)
        interest[order] = value
        return interest


def affinity(
    settings: SimulationSettings,
    *,
    pair: Ints,
    country: Ints,
    gender: Ints,
    day: npt.NDArray[np.float64],
) -> Bools:
    """Return whether an item suits an intent, then and for those people, for reasons that no content shows.

    Each (intent, item) pair is drawn again every ``affinity_days``, each pair on a day of its own; once for
    everybody and once for each country and each gender. A hash stands in for a table of all pairs.

    Args:
        settings: densities, days and seed.
        pair: int64 number of the (intent, pool slot) pair.
        country: int64.
        gender: int64.
        day: float64 days since the start of the log. All four are broadcast together.

    Returns:
        bool, of the common shape.
    """
    phase = uniform_hash(settings.seed, pair)
    era = np.floor(day / settings.affinity_days + phase).astype(np.int64)
    density, of_segment = settings.affinity_density, settings.segment_affinity_density
    suits = uniform_hash(settings.seed, pair, era) < density
    suits |= uniform_hash(settings.seed, pair, era, country + 1) < of_segment
    suits |= uniform_hash(settings.seed, pair, era, -gender - 1) < of_segment
    return suits


def uniform_hash(seed: int, *keys: Ints) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) that depends on the seed and the keys alone (splitmix64).

    Args:
        seed: any integer.
        keys: int64 arrays, broadcast together; their order matters.

    Returns:
        float64 of the common shape.

    Example::

        >>> bool((uniform_hash(0, np.arange(3)) == uniform_hash(0, np.arange(3))).all())
        True
    """
    state = np.full(np.broadcast_shapes(*(key.shape for key in keys)), seed % (1 << 64), dtype=np.uint64)
    for key in keys:
        state = (state ^ key.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _sessions(
    settings: SimulationSettings,
    world: World,
    since: float,
    until: float,
    count: int,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Return users and ascending times of ``count`` requests in [since, until): bursts of one user."""
    length = rng.geometric(1 / settings.session_requests, size=count)
    session = np.repeat(np.arange(count), length)[:count]
    user = np.searchsorted(world.users.activity, rng.random(count), side="right")[session]
    gap = rng.exponential(_SESSION_GAP, size=count)
    opens = np.r_[True, session[1:] != session[:-1]]
    elapsed = np.cumsum(np.where(opens, 0.0, gap))
    elapsed -= elapsed[opens][session]
    # A session that began too near the end of the block starts so much earlier.
    room = np.maximum(until - since - np.maximum.reduceat(elapsed, np.flatnonzero(opens)), 0)
    begin = since + rng.random(len(room)) * room
    time = np.minimum(begin[session] + elapsed, until - 1).astype(np.int64)
    time = np.maximum(time, np.int64(np.ceil(since)))
    order = np.argsort(time, kind="stable")
    return user[order], time[order]


def _searches(
    settings: SimulationSettings, world: World, moment: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Return intent, query text and rare word (or -1) of each request."""
    count = len(moment)
    intent = np.searchsorted(world.intents.popularity, rng.random(count), side="right")
    intent = np.where(moment < world.intents.birth[intent], world.intents.heir[intent], intent)
    text = np.searchsorted(np.cumsum(QUERY_SHARES)[:-1], rng.random(count), side="right")
    word = rng.integers(1 << 30, size=count)
    rare = np.where(rng.random(count) < settings.rare_queries, word, -1)
    return intent, intent * len(QUERY_SHARES) + text, rare


def _retrieve(settings: SimulationSettings, match: Floats, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Return pool slots [R, C] in the logged order, by match with noise, and which are shown [R, C]."""
    count = len(match)
    key = rng.random(match.shape, dtype=np.float32)
    key = settings.retrieval_strength * match - np.log(-np.log(np.clip(key, 1e-9, 1 - 1e-7)))
    most = settings.candidates_max
    if most < settings.pool:
        slot = np.argpartition(-key, most - 1, axis=1)[:, :most]
    else:
        slot = np.broadcast_to(np.arange(most), (count, most))
    order = np.argsort(-np.take_along_axis(key, slot, axis=1), axis=1, kind="stable")
    slot = np.take_along_axis(slot, order, axis=1)
    number = rng.integers(settings.candidates_min, most, endpoint=True, size=count)
    return slot, np.arange(most) < number[:, None]


def _act(
    probability: Floats, short_click: Floats, quality: Floats, rng: np.random.Generator
) -> tuple[Bools, Bools, Bools, Bools]:
    """Draw click, save, long_click and short_click [R, C].

    An engaged user saves (better items more often), reads on (long click), or only clicks; half of those that
    save do so without a click. A short click may come with a save, which it cancels.
    """
    shape = probability.shape
    chance = rng.random(shape, dtype=np.float32)
    regret = probability * short_click / (1 - short_click)
    engaged = chance < probability
    regrets = ~engaged & (chance < probability + regret)
    kind, more = rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)
    likely = 1 / (1 + np.exp(-quality))
    save = engaged & (kind < 0.4 * likely) | regrets & (kind < 0.03)
    long_click = engaged & (more < 0.3 + 0.4 * likely)
    click = regrets | long_click | engaged & (~save | (more >= 0.85))
    return click, save, long_click, regrets

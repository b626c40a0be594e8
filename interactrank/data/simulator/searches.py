"""Who searches for what and when in the simulated world.

Searches are made in blocks of a fixed number, in order of time. A block depends on the seed, on its number
and on the state that the users carry over from earlier blocks, so memory does not grow with the log.

Shapes: R searches of a block, U users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.data.simulator.settings import SimulationSettings
from interactrank.data.simulator.words import spell
from interactrank.data.simulator.world import QUERY_SHARES, Ints, World

__all__ = ["BLOCK", "DAY", "Interests", "Searches", "search_blocks"]

BLOCK = 4096
"""Searches of a block. A constant, not a setting: the log depends on it."""

DAY = 86_400_000  # milliseconds
_SESSION_GAP = 180_000  # mean milliseconds between the searches of a session


@dataclass(frozen=True)
class Searches:
    """Some searches in order of time.

    Attributes:
        number: int64 [R] place in the log, from 0.
        user: int64 [R].
        time: int64 [R] milliseconds UTC.
        intent: int64 [R].
        query: int64 [R] index into the world's query texts.
        rare: int64 [R] which rare word the query carries, too, -1 for none.
        interest: int64 [R] the style that the user is after.
    """

    number: Ints
    user: Ints
    time: Ints
    intent: Ints
    query: Ints
    rare: Ints
    interest: Ints

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: npt.NDArray[Any]) -> Searches:
        """Return some of them: their numbers, a mask or a slice."""
        return Searches(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Searches]) -> Searches:
        """Return the searches of several, one after the other."""
        return cls(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls)))

    def texts(self, world: World) -> list[str]:
        """Return what is typed."""
        texts = [world.intents.query[number] for number in self.query.tolist()]
        for row in np.flatnonzero(self.rare >= 0).tolist():
            texts[row] += " " + spell(world.vocabulary.rare(int(self.rare[row])))
        return texts


def search_blocks(
    settings: SimulationSettings, world: World
) -> Iterator[tuple[Searches, np.random.Generator]]:
    """Yield all searches of the log, block by block, in order of time.

    Args:
        settings: number of requests, time span, strengths, seed.
        world: users, items and intents.

    Yields:
        Blocks of ``BLOCK`` searches, the last one shorter, each with the source of chance of what follows.

    Example::

        >>> from interactrank.data.simulator.world import build_world
        >>> settings = SimulationSettings(users=5, items=60, intents=3, topics=2, requests=10)
        >>> [len(searches) for searches, _ in search_blocks(settings, build_world(settings))]
        [10]
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
        intent, query, rare = _searches(settings, world, (time - start) / span, rng)
        interest = interests.at(user, time, rng)
        yield Searches(first + np.arange(count), user, time, intent, query, rare, interest), rng


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

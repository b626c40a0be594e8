"""What users do with a list that is shown to them: the truth of the simulated world.

Whoever made the list, the log's writer or a ranker, users respond to it by this one function.

Shapes: R requests, C places of a list, P pool items of an intent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.data.simulator.searches import DAY, Searches
from interactrank.data.simulator.settings import SimulationSettings
from interactrank.data.simulator.world import Floats, Ints, World

__all__ = ["Responses", "affinity", "attraction", "engagement_probability", "respond", "uniform_hash"]

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Responses:
    """What happened at each place of the lists.

    Attributes:
        probability: float32 [R, C] of engagement, as ``engagement_probability`` defines it.
        click, save, long_click, short_click: bool [R, C].
    """

    probability: Floats
    click: Bools
    save: Bools
    long_click: Bools
    short_click: Bools

    @property
    def engaged(self) -> Bools:
        """Whether the item was engaged with: (click or save or long_click) and not short_click, [R, C]."""
        return (self.click | self.save | self.long_click) & ~self.short_click

    def take(self, rows: npt.NDArray[Any]) -> Responses:
        """Return those to some of the lists: their numbers, a mask or a slice."""
        return Responses(*(getattr(self, field.name)[rows] for field in fields(self)))


def respond(
    settings: SimulationSettings, world: World, searches: Searches, slot: Ints, rng: np.random.Generator
) -> Responses:
    """Show a list to each searcher and draw what becomes of its items.

    A user examines position p with probability p ** -position_bias, is attracted or not by what the item is
    to the user then, and engages or regrets. Places do not influence each other.

    Args:
        settings: strengths and position bias.
        world: users, items and intents.
        searches: R of them.
        slot: int64 [R, C] the items as places in the pool of the search's intent, in the order shown.
        rng: source of chance.

    Returns:
        The responses [R, C].
    """
    logit = attraction(settings, world, searches, slot)
    position = np.arange(1, slot.shape[1] + 1)
    examination = np.broadcast_to(position**-settings.position_bias, slot.shape).astype(np.float32)
    item = world.intents.pool[searches.intent[:, None], slot]
    short_click = world.items.short_click[item]
    probability = engagement_probability(logit=logit, short_click=short_click, examination=examination)
    return Responses(probability, *_act(probability, short_click, world.items.quality[item], rng))


def attraction(settings: SimulationSettings, world: World, searches: Searches, slot: Ints) -> Floats:
    """Return the logit of the attraction that each item has for the searcher at that time.

    Args:
        settings: strengths.
        world: users, items and intents.
        searches: R of them.
        slot: int64 [R, C] the items as places in the pool of the search's intent.

    Returns:
        float32 [R, C].
    """
    user, intent = searches.user[:, None], searches.intent[:, None]
    style = world.items.style[world.intents.pool[intent, slot]]
    start = round(settings.start.timestamp() * 1000)
    logit = world.intents.utility[intent, slot]
    logit = logit + settings.taste_strength * world.users.taste[user, style]
    logit += settings.interest_strength * (style == searches.interest[:, None])
    logit += settings.affinity_strength * affinity(
        settings,
        pair=intent * settings.pool + slot,
        country=world.users.country[user],
        gender=world.users.gender[user],
        day=((searches.time - start) / DAY)[:, None],
    )
    return logit.astype(np.float32)


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

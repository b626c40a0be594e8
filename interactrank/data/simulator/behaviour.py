"""The simulated log's own lists: what its retrieval shows, and how users respond to it.

Shapes: R requests of a block, C most candidates of a request, P pool items of an intent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.data.simulator.responses import Bools, Responses, respond
from interactrank.data.simulator.searches import Searches, search_blocks
from interactrank.data.simulator.settings import SimulationSettings
from interactrank.data.simulator.world import Floats, Ints, World

__all__ = ["Block", "blocks", "retrieve"]


@dataclass(frozen=True)
class Block:
    """Some requests in order of time, and their impressions.

    Attributes:
        searches: R of them.
        shown: bool [R, C] whether the place holds an impression; the first ones of each row do.
        item: int64 [R, C].
        responses: to each place [R, C].
    """

    searches: Searches
    shown: Bools
    item: Ints
    responses: Responses

    def __len__(self) -> int:
        return len(self.searches)

    def take(self, rows: npt.NDArray[Any]) -> Block:
        """Return some of the requests: their numbers, a mask or a slice."""
        return Block(self.searches.take(rows), self.shown[rows], self.item[rows], self.responses.take(rows))


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
    for searches, rng in search_blocks(settings, world):
        slot, shown = retrieve(settings, world.intents.match[searches.intent], rng)
        item = world.intents.pool[searches.intent[:, None], slot]
        yield Block(searches, shown, item, respond(settings, world, searches, slot, rng))


def retrieve(settings: SimulationSettings, match: Floats, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Return what retrieval finds, in its order: by the match, with noise.

    Args:
        settings: how much the order follows the match, and how many candidates there are.
        match: float32 [R, P] of the pool's items.
        rng: source of chance.

    Returns:
        Places in the pool [R, C], and which are found [R, C]: the first ones of each row.
    """
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

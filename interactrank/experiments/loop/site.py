"""The simulated site: who searches on which day, what retrieval finds for them, and what they would do.

Shapes: R searches of a day, C most candidates of a search, K places of a list that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.core.atomic_directory import atomic_directory
from interactrank.core.settings import ConfigError
from interactrank.data.extras import pa, pq
from interactrank.data.simulator import SimulationSettings
from interactrank.data.simulator.behaviour import Block, blocks, retrieve
from interactrank.data.simulator.responses import Responses, attraction, respond
from interactrank.data.simulator.searches import DAY, Searches, search_blocks
from interactrank.data.simulator.world import build_world
from interactrank.data.simulator.write import event_schema, event_table, write_catalogue
from interactrank.schema import SearchSchema

__all__ = ["Day", "Site", "requests_of"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Day:
    """The searches of a day.

    Attributes:
        name: its date.
        number: from 0, the first day that is served.
        searches: R of them.
        slot: [R, C] what retrieval finds, as places in the pool of the search's intent, in its own order.
        found: [R, C] which of them it finds: the first ones of each row.
        items: R lists of the ids of the candidates.
    """

    name: str
    number: int
    searches: Searches
    slot: Ints
    found: npt.NDArray[np.bool_]
    items: list[list[str]]

    def slots(self, lists: Sequence[Sequence[str]]) -> Ints:
        """Return lists of K items each as places in the pool, [R, K]."""
        rows = []
        for items, slots, of in zip(self.items, self.slot.tolist(), lists, strict=True):
            place = dict(zip(items, slots, strict=False))
            rows.append([place[item] for item in of])
        return np.array(rows, np.int64)


class Site:
    """The simulated world, in which the last days are served by rankers.

    Args:
        settings: of the world; its log is that of ``interactrank simulate``.
        days: how many of its days are served, the last ones.
        shown: K, places of a list.

    Raises:
        ConfigError: there are not as many days, or lists may have fewer candidates than places.
    """

    def __init__(self, settings: SimulationSettings, days: int, shown: int) -> None:
        if ceil(settings.days) <= days:
            raise ConfigError(
                f"simulate.days is {settings.days:g}; to serve {days} days after some that are learnt from, "
                "it must be more"
            )
        if settings.candidates_min < shown:
            raise ConfigError(
                f"simulate.candidates_min is {settings.candidates_min}, fewer than the {shown} places of a "
                "list; lower --shown"
            )
        self.settings, self.days, self.shown = settings, days, shown
        self.world = build_world(settings)
        self._start = round(settings.start.timestamp() * 1000)
        self._first = ceil(settings.days) - days

    def moment(self, number: int) -> str:
        """Return when a served day begins, as ISO 8601 in UTC; ``days`` gives the end of the last one."""
        at = (self._start + (self._first + number) * DAY) / 1000
        return datetime.fromtimestamp(at, timezone.utc).isoformat()

    def served(self) -> list[Day]:
        """Return the days that are served."""
        parts = []
        for searches, rng in search_blocks(self.settings, self.world):
            slot, found = retrieve(self.settings, self.world.intents.match[searches.intent], rng)
            day = (searches.time - self._start) // DAY - self._first
            parts.append((day, searches, slot, found))
        days = []
        for number in range(self.days):
            rows = [(day == number, searches, slot, found) for day, searches, slot, found in parts]
            chosen = [(s.take(mask), slot[mask], found[mask]) for mask, s, slot, found in rows if mask.any()]
            if not chosen:
                raise ConfigError(f"nobody searches on {self.moment(number)[:10]}; raise simulate.requests")
            searches = Searches.joined([of for of, _, _ in chosen])
            slot, found = (np.concatenate([of[n] for of in chosen]) for n in (1, 2))
            item = self.world.intents.pool[searches.intent[:, None], slot]
            items = [list(map(str, row[mask].tolist())) for row, mask in zip(item, found, strict=True)]
            days.append(Day(self.moment(number)[:10], number, searches, slot, found, items))
        return days

    def write_past(self, folder: Path) -> None:
        """Write the log of the days before those that are served, whole or not at all."""
        until = self._start + self._first * DAY
        with atomic_directory(folder, last="events.parquet") as partial:
            write_catalogue(self.settings, self.world, partial)
            with pq.ParquetWriter(partial / "events.parquet", event_schema()) as writer:
                for block in blocks(self.settings, self.world):
                    past = block.take(block.searches.time < until)
                    if len(past):
                        writer.write_table(event_table(self.settings, self.world, past))

    def log(self, searches: Searches, slot: Ints, responses: Responses) -> pa.Table:
        """Return what was shown, [R, K] places in the pools, and what became of it as R * K rows of a log."""
        item = self.world.intents.pool[searches.intent[:, None], slot]
        block = Block(searches, np.ones(slot.shape, bool), item, responses)
        return event_table(self.settings, self.world, block)

    def respond(self, day: Day, slot: Ints) -> Responses:
        """Return what the searchers of a day do with lists [R, K] of places in their pools.

        Chance is that of the day: the same list has the same responses.
        """
        rng = np.random.default_rng([self.settings.seed, 3, day.number])
        return respond(self.settings, self.world, day.searches, slot, rng)

    def optimum(self, day: Day) -> Ints:
        """Return the best lists [R, K]: by the true probability of engagement.

        Examination falls from place to place, so that no other list has more expected engagements.
        """
        likely = self._likely(day)
        order = np.argsort(-likely, axis=1, kind="stable")[:, : self.shown]
        return np.take_along_axis(day.slot, order, axis=1)

    def chance(self, day: Day) -> npt.NDArray[np.float64]:
        """Return the expected engagements [R] of a list in random order."""
        likely = np.where(day.found, self._likely(day), 0.0)
        seen = np.arange(1, self.shown + 1.0) ** -self.settings.position_bias
        return likely.sum(axis=1) / day.found.sum(axis=1) * seen.sum()

    def _likely(self, day: Day) -> npt.NDArray[np.float64]:
        """Return the probability of engagement [R, C] at a place that everybody looks at; -1 if not found."""
        logit = attraction(self.settings, self.world, day.searches, day.slot).astype(np.float64)
        item = self.world.intents.pool[day.searches.intent[:, None], day.slot]
        likely = (1 - self.world.items.short_click[item]) / (1 + np.exp(-logit))
        return np.where(day.found, likely, -1.0)


def requests_of(site: Site, day: Day, schema: SearchSchema) -> list[Mapping[str, Any]]:
    """Return the searches of a day as a pre-ranker reads them."""
    e = schema.events
    assert e.user is not None  # the simulator's log has users
    texts = day.searches.texts(site.world)
    rows = zip(texts, day.searches.user.tolist(), day.searches.time.tolist(), strict=True)
    return [{e.query: text, e.user: user, e.time: time} for text, user, time in rows]

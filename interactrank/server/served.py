"""The models of a service: each an export that is open, and which of them answers a user."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interactrank.core.errors import UserError
from interactrank.server.bodies import Bodies, bodies_of
from interactrank.server.failures import Refusal
from interactrank.server.request_times import log_event
from interactrank.server.settings import Limits, ServedModel
from interactrank.server.swap import Recorder, open_verified, stamp_of, warm
from interactrank.server.written_bodies import WrittenBodies, written_bodies_of
from interactrank.serving import PreRanker

__all__ = ["Models", "Opened", "Served"]


class Opened:
    """One version of an export, open; a request that began with it ends with it.

    Args:
        name: of the model.
        ranker: opened.
        limits: of the service.
    """

    def __init__(self, name: str, ranker: PreRanker, limits: Limits) -> None:
        self.name, self.ranker = name, ranker
        self.bodies: Bodies = bodies_of(ranker.schema, limits, ranker.filters.fields, name)
        self.written: WrittenBodies = written_bodies_of(ranker.schema, limits, name)

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.ranker.version.name

    def now(self) -> int:
        """Return milliseconds of a moment that is later than all events that were recorded."""
        return max(time.time_ns() // 1_000_000, self.ranker.fresh.histories().last + 1)

    def to_json(self) -> dict[str, str]:
        """Return what every answer says of who gave it."""
        return {"model": self.name, "version": self.version}


class Served:
    """A model: its export, the version that answers now, and the requests by which the next one is warmed.

    Args:
        name: of the model.
        export: its folder.
        limits: of the service.
        events: log of events; None without one.

    Attributes:
        opened: the version that answers; a request reads it once.
        refused: why the version that is current was not switched to; None if it was.

    Raises:
        ArtifactError: it cannot be opened, or ranks wrongly.
    """

    def __init__(self, name: str, export: Path, limits: Limits, events: str | None = None) -> None:
        self.name, self.export, self.limits, self.events = name, export, limits, events
        self.recorder = Recorder()
        self.refused: str | None = None
        self._swapping = threading.Lock()
        self._seen = stamp_of(export)
        ranker = PreRanker.open(export, events=events)
        warm(ranker, [])
        self.opened = Opened(name, ranker, limits)

    def is_behind(self) -> bool:
        """Return whether something was published that was not looked at."""
        return stamp_of(self.export) not in (None, self._seen)

    def swap(self) -> str:
        """Look at what was published and switch to it; return ``done``, ``same`` or ``refused``."""
        with self._swapping:
            return self._swap()

    def _swap(self) -> str:
        self._seen = stamp_of(self.export)
        old = self.opened
        if self._seen is not None and self._seen[0] == old.version:
            self.refused = None
            return "same"
        try:
            ranker = open_verified(
                self.export, old.ranker.version, self.recorder.requests(), events=self.events
            )
        except (UserError, OSError) as error:
            self.refused = str(error)
            log_event("swap_refused", model=self.name, version=old.version, reason=self.refused)
            return "refused"
        self.opened, self.refused = Opened(self.name, ranker, self.limits), None
        log_event("swapped", model=self.name, version=self.opened.version, before=old.version)
        return "done"


class Models:
    """All models of a service.

    Args:
        models: name -> export and share.
        limits: of the service.
        events: log of events, which all of them read; None without one.
    """

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits, events: str | None = None) -> None:
        self.served = {name: Served(name, of.export, limits, events) for name, of in models.items()}
        self.names = list(models)
        shares = list(itertools.accumulate(of.share for of in models.values()))
        self._ends = [end / shares[-1] for end in shares]

    def __iter__(self) -> Iterator[Served]:
        return iter(self.served.values())

    def choose(self, name: str | None, request: Mapping[str, Any]) -> Opened:
        """Return the model that answers: the one that is named, else by the user, else by the query.

        Args:
            name: of a model, if the request names one.
            request: its columns.

        Raises:
            Refusal: no model has that name.
        """
        if name is not None:
            if name not in self.served:
                raise Refusal(
                    422, "invalid", f"model: no '{name}'; allowed: {', '.join(self.names)}", "model"
                )
            return self.served[name].opened
        if len(self.names) == 1:
            return self.served[self.names[0]].opened
        events = self.served[self.names[0]].opened.ranker.schema.events
        known = (request.get(column) for column in (events.user, events.session, events.query) if column)
        place = place_of(str(next((value for value in known if value is not None), "")))
        return self.served[self.names[next(n for n, end in enumerate(self._ends) if place < end)]].opened


def place_of(user: str) -> float:
    """Return a number in [0, 1) that is the same for a user on every machine and every day.

    Example::

        >>> round(place_of("u7"), 4), place_of("u7") == place_of("u7")
        (0.9089, True)
    """
    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)

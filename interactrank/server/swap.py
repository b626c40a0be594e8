"""Hot swap: a new version of an export is opened, warmed, verified and then switched to.

Requests that began with the old version end with it. A version that is damaged, older than the one that
answers, or that ranks wrongly is refused, and the old one goes on answering.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interactrank.core.errors import UserError
from interactrank.data.raw.staged_columns import event_columns
from interactrank.serving import ArtifactError, PreRanker, RequestError, Version
from interactrank.serving.artifact import CURRENT, current_name
from interactrank.serving.ranking import Ranking

__all__ = ["RecordedRequest", "Recorder", "check_version", "open_verified", "stamp_of"]

_KEPT, _CANDIDATES, _RESULTS = 16, 1_000, 10


class RecordedRequest(NamedTuple):
    """A request that was answered.

    Args:
        request: its columns.
        candidates: ids; None for the whole catalogue.
        features: of the candidates.
    """

    request: Mapping[str, Any]
    candidates: Sequence[str] | None
    features: Mapping[str, Sequence[Any]] | None


class Recorder:
    """The last requests, in memory alone, by which a new version is warmed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[RecordedRequest] = deque(maxlen=_KEPT)

    def keep(self, request: RecordedRequest) -> None:
        """Keep a request, if it is of a usual size."""
        if request.candidates is None or len(request.candidates) <= _CANDIDATES:
            with self._lock:
                self._kept.append(request)

    def requests(self) -> list[RecordedRequest]:
        """Return those that are kept."""
        with self._lock:
            return list(self._kept)


def stamp_of(export: Path) -> tuple[str, int, int] | None:
    """Return what changes when another version is published; None while there is nothing to read."""
    try:
        facts = (export / CURRENT).stat()
    except OSError:
        return None
    name = current_name(export)
    return None if name is None else (name, facts.st_mtime_ns, facts.st_ino)


def check_version(new: Version, old: Version) -> None:
    """Refuse a version that must not follow another.

    Args:
        new: opened.
        old: that answers now.

    Raises:
        ArtifactError: it is older, or a file differs from its checksum.
    """
    if new.event_time < old.event_time:
        raise ArtifactError(
            f"'{new.name}' ends at {new.event_time}, before '{old.name}' that is served ({old.event_time}); "
            "restart the server to go back to it"
        )
    names = [name for name in new.manifest.files if not _is_shared(new.folder / name, old.folder / name)]
    if (damage := new.manifest.damage(new.folder, checksums=True, names=names)) is not None:
        raise ArtifactError(f"{damage}; copy the export again, or export again")


def _is_shared(new: Path, old: Path) -> bool:
    """Return whether a file is the same one: ``refresh`` links what does not change."""
    try:
        return new.samefile(old)
    except OSError:
        return False


def open_verified(
    export: Path, old: Version, requests: Sequence[RecordedRequest], events: str | None = None
) -> PreRanker:
    """Open the current version of an export, rank what was recorded, and look whether it makes sense.

    Args:
        export: its folder.
        old: the version that answers now.
        requests: recorded.
        events: log of events; None without one.

    Raises:
        ArtifactError: it must not be served; says why.
    """
    version = Version.current(export)
    check_version(version, old)
    try:
        ranker = PreRanker(version, events=events)
        warm(ranker, requests)
    except UserError:
        raise
    except Exception as error:  # whatever a file that is not what it should be leads to
        raise ArtifactError(f"'{version.name}' cannot rank: {type(error).__name__}: {error}") from error
    return ranker


def warm(ranker: PreRanker, requests: Sequence[RecordedRequest]) -> None:
    """Rank, so that files are in memory and code is compiled before the first request comes.

    Args:
        ranker: opened.
        requests: recorded; one with nothing known is made, if there is none.

    Raises:
        ArtifactError: no item has a score, or a score is not the sum of its parts.
    """
    for of in requests or _made_up(ranker):
        try:
            found = ranker.rank(of.request, of.candidates, _RESULTS, features=of.features, explain=True)
        except RequestError:  # recorded under another schema
            continue
        if of.candidates is None and not len(found):
            raise ArtifactError(f"'{ranker.version.name}' gives no item a score that is a number")
        _check(ranker, found)


def _check(ranker: PreRanker, found: Ranking) -> None:
    scores = np.asarray(found.scores, np.float64)
    parts = np.array([why.score for why in found.explanations or ()])
    if not np.isfinite(scores).all() or not np.allclose(scores, parts, rtol=1e-3, atol=1e-3):
        raise ArtifactError(f"'{ranker.version.name}' gives scores that are not the sum of their parts")


def _made_up(ranker: PreRanker) -> list[RecordedRequest]:
    if ranker.schema.features.candidate:
        return []
    columns: dict[str, Any] = dict.fromkeys(event_columns(ranker.schema))
    return [RecordedRequest(columns | {ranker.schema.events.query: "a"}, None, None)]

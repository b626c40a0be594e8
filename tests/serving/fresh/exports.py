"""A log whose rows come one after the other; datasets and an export of its earlier part."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from interactrank.data import prepare_log
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import ModelSettings
from interactrank.runs.config import RunConfig
from interactrank.serving import PreRanker
from tests.data import logs
from tests.models.search import SMALL
from tests.serving.exported import HIDDEN, Exported, export_again, model_on
from tests.trained import config

MORE = [
    {"kind": "query_cosine"},
    {"kind": "touch"},
    {"kind": "touch", "statistic": "order"},
    {"kind": "touch", "statistic": "count", "engagement": "like", "within": "session"},
    {"kind": "touch", "statistic": "recency", "engagement": "click", "of": "categories"},
    {"kind": "iqp", "key": "compact", "engagement": "click", "statistic": "rate", "window": "10d"},
    {"kind": "iqp", "key": "words", "engagement": "save", "of": "brand", "segment": "country"},
    {"kind": "iqp", "key": "query", "engagement": "click", "statistic": "count", "resolution": "1d"},
]
CUT = logs.START + 45 * logs.DAY  # requests from then on are recorded


def rows_as_they_come(requests: int = 80) -> list[dict[str, Any]]:
    """A random log in which an impression is a row, and what happens to it later others."""
    random, _, _ = logs.random_log(3, requests=requests)
    rows = []
    for n, event in enumerate(random):
        request = int(event["request_id"][1:])
        time = event["timestamp"] + request  # no two requests at one moment
        event |= {"timestamp": time, "session_id": f"s{request // 3}"}
        rows.append((time, event | {"click": 0, "save": 0, "event_time": None}))
        for k, name in enumerate(("click", "save")):
            if event[name]:
                at = None if event["event_time"] is None else event["event_time"] + request + 100 * n + 7 * k
                others = {"click": 0, "save": 0, name: event[name], "event_time": at}
                rows.append((at or time, event | others))
    return [event for _, event in sorted(rows, key=lambda row: row[0])]


class Parts:
    """The earlier part of the log exported; the whole of it prepared."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        features = json.dumps([*logs.SCHEMA["cross_features"], *MORE])
        cut = "prepare.split={test_from: '2024-02-05'}"
        settings = config(cut, f"schema.cross_features={features}", *overrides)
        model = ModelSettings.model_validate({**SMALL, **HIDDEN})
        self.config: RunConfig = settings.model_copy(update={"model": model})
        _, self.items, self.users = logs.random_log(3)
        self.rows = rows_as_they_come()
        self.earlier = [row for row in self.rows if row["timestamp"] < CUT]
        self.later = [row for row in self.rows if row["timestamp"] >= CUT]

    def prepared(self, name: str, events: list[dict[str, Any]]) -> PreparedDataset:
        """A dataset of some events."""
        log = logs.write_log(self.folder / f"log_{name}", events, self.items, self.users)
        prepare_log(log, self.folder / name, self.config.search, self.config.prepare)
        return PreparedDataset(self.folder / name)

    @cached_property
    def whole(self) -> PreparedDataset:
        """The dataset of all events."""
        return self.prepared("whole", self.rows)

    @cached_property
    def made(self) -> Exported:
        """The export of the earlier events."""
        made = model_on(self.folder, self.prepared("prepared", self.earlier), self.config, self.earlier)
        export_again(made, made.artifact)
        return made

    def open(self, **more: Any) -> PreRanker:
        """The pre-ranker of the export."""
        return PreRanker.open(self.made.artifact, **more)

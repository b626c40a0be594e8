"""What the manifest of a dataset says of it, whichever engine wrote the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interactrank.cross_features.registry import KINDS, module_of
from interactrank.data.prepare.numbers import Statistics
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.data.raw.events import EventCounts
from interactrank.data.raw.joins import Unmatched
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["dataset_facts", "kinds_of"]


def dataset_facts(
    schema: SearchSchema,
    settings: PrepareSettings,
    *,
    events: EventCounts,
    capped: dict[str, int],
    mixed: dict[str, int],
    unknown_users: Unmatched | None,
    num_items: int,
    requests: dict[str, int],
    positives: dict[str, Any],
    vocabularies: Mapping[str, Vocabulary],
    numbers: Mapping[str, Statistics],
) -> dict[str, Any]:
    """Return what a manifest says of a dataset; see :class:`StagedLog` and :class:`SplitWriter`."""
    return {
        "schema": schema.model_dump(),
        "cross_features": kinds_of(schema),
        "settings": settings.model_dump(),
        "events": events.rows,
        "malformed": events.malformed,
        "without_engagement": events.unengaged,
        "before_request": events.early,
        "capped": capped,
        "several_in_request": mixed,
        "unmatched": _unmatched(events, unknown_users, schema),
        "items": num_items,
        "requests": requests,
        "positives": positives,
        "tables": {name: v.rows for name, v in vocabularies.items()},
        "numbers": dict(numbers),
    }


def kinds_of(schema: SearchSchema) -> dict[str, dict[str, Any]]:
    """Return of each kind of cross feature the module that defines it and the format of its stores."""
    kinds = sorted({f.kind for f in schema.cross_features})
    return {kind: {"module": module_of(kind), "format": KINDS[kind].format} for kind in kinds}


def _unmatched(events: EventCounts, users: Unmatched | None, schema: SearchSchema) -> list[str]:
    """Return a line for each table that does not have all ids that the events name."""
    e, items = schema.events, events.unknown_items
    found = [items.remark(e.item, "items")] if items else []
    return found + ([users.remark(e.user or "", "users")] if users else [])

"""Memory and lookup estimates from a schema or a dataset, without hardware.

Rows of tables come from a dataset, from the config (hashed tables), or from the user. The number of ids that
a step looks up is measured on a dataset or estimated: EXPECTED_IDS for the kinds of features, whole
sequences, CANDIDATES items for each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from interactrank.batch.layout import BatchLayout, Slot
from interactrank.core.errors import TrainingError
from interactrank.core.extras import require
from interactrank.core.managed_ids import bucket_problem
from interactrank.core.settings import near
from interactrank.data.arrow_lists import from_arrow
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import ModelSettings, build_model
from interactrank.models.tables import collection_name
from interactrank.schema import SearchSchema
from interactrank.sharding.planner.constraints import TableLoad
from interactrank.sharding.planner.offline import ModelProfile

__all__ = ["RequestProfile", "expected_profile", "layout_of", "measured_profile", "profile_model"]

EXPECTED_IDS = {"id": 1.0, "words": 5.0, "trigrams": 15.0}
CANDIDATES = 20.0
MEASURED_REQUESTS = 10_000  # requests of a dataset that are measured
PLAIN_STATS = {"minimum": 0.0, "maximum": 1.0, "mean": 0.5, "std": 1.0}


@dataclass(frozen=True)
class RequestProfile:
    """What a request asks for, on average.

    Attributes:
        candidates: items of a request, logged and drawn.
        ids: feature -> ids in a row.
        events: length of a user's sequence.
    """

    candidates: float
    ids: dict[str, float] = field(default_factory=dict)
    events: float = 0.0

    def loads(self, layout: BatchLayout, batch_requests: int) -> dict[str, TableLoad]:
        """Table -> what a step asks of it on each rank; every candidate is taken for an item of its own."""
        requests, items = batch_requests, max(1, round(batch_requests * self.candidates))
        loads: dict[str, TableLoad] = {}

        def add(slots: list[Slot], sections: dict[str, int]) -> None:
            for slot in slots:
                filled = {s: n for s, n in sections.items() if s != "event" or slot.event is not None}
                found = {s: self._ids(slot, s) for s in filled}
                rows = sum(filled.values())
                ids = sum(filled[s] * found[s] for s in filled) / rows
                old = loads.get(collection_name(slot.table), TableLoad((), ()))
                loads[collection_name(slot.table)] = TableLoad((*old.rows, rows), (*old.ids, ids))

        add(layout.request_slots, {"request": requests})
        add(layout.item_slots, {"item": items})
        add(layout.shared_slots, {"request": requests, "item": items})
        add(layout.event_slots, {"request": requests, "item": items, "event": requests})
        return loads

    def _ids(self, slot: Slot, section: str) -> float:
        if section == "event":
            return self.events
        feature = getattr(slot, section)
        return self.ids[feature] if feature is not None else 0.0


def layout_of(schema: SearchSchema, log: PreparedDataset | None, rows: Mapping[str, int]) -> BatchLayout:
    """Return the layout of batches with every table's rows known.

    Args:
        schema: what the columns of the log mean.
        log: the log as prepared, if it is.
        rows: table -> rows, instead of those of the log or of the schema.

    Raises:
        TrainingError: names the tables whose rows nobody knows, and those of ``rows`` that do not exist, or
            whose buckets cannot share them.
    """
    tables = {f.table for side in ("request", "item") for f in getattr(schema.features, side) if f.table}
    known: dict[str, int | None] = {name: schema.tables[name].rows for name in sorted(tables)}
    if log is not None:
        known |= log.layout.table_rows
    problems = [f"--rows {name}: no such table{near(name, known)}" for name in rows if name not in known]
    problems += [_uneven(name, size, schema) for name, size in rows.items() if _uneven(name, size, schema)]
    known |= rows
    unknown = [name for name, size in known.items() if size is None]
    if unknown:
        example = " ".join(f"--rows {name}=1e7" for name in unknown)
        problems.append(
            f"the rows of {', '.join(unknown)} are counted when the log is prepared: name a dataset "
            f"with --data, or the rows with {example}"
        )
    if problems:
        raise TrainingError("\n".join(problems))
    sizes = {name: int(size) for name, size in known.items() if size is not None}
    if log is not None:
        return BatchLayout(schema, sizes, log.layout.num_items, log.layout.number_stats)
    numbers = [f.name for side in ("request", "item") for f in getattr(schema.features, side)]
    return BatchLayout(schema, sizes, max(sizes.values(), default=2), dict.fromkeys(numbers, PLAIN_STATS))


def _uneven(name: str, rows: int, schema: SearchSchema) -> str:
    """Return why the buckets of a managed table cannot share that number of rows; empty if they can."""
    table = schema.tables.get(name)
    if table is None or table.ids != "managed" or not bucket_problem(rows=rows, buckets=table.buckets):
        return ""
    enough = max(2, -(-rows // table.buckets)) * table.buckets
    return (
        f"--rows {name}={rows}: its {table.buckets} buckets (schema.tables.{name}.buckets) must have as many "
        f"rows each, 2 or more; take {enough}"
    )


def expected_profile(schema: SearchSchema, negatives: int) -> RequestProfile:
    """Estimate what a request asks for from the kinds of the features alone."""
    ids = {
        f.name: EXPECTED_IDS[f.kind]
        for side in ("request", "item")
        for f in getattr(schema.features, side)
        if f.is_sparse
    }
    events = 0 if schema.sequence is None else schema.sequence.length
    return RequestProfile(CANDIDATES + negatives, ids, float(events))


def measured_profile(log: PreparedDataset, negatives: int) -> RequestProfile:
    """Measure what the first training requests of a dataset ask for."""
    request, item = log.layout.sparse("request"), log.layout.sparse("item")
    columns = ["candidates", "events.item", *(f"feature.{f.name}" for f in request)]
    file = require("pyarrow.parquet", extra="data").ParquetFile(log.files("train")[0])
    table = next(file.iter_batches(batch_size=MEASURED_REQUESTS, columns=columns))
    mean = {name: float(np.mean(from_arrow(table[name]).lengths)) for name in columns}
    ids = {f.name: mean[f"feature.{f.name}"] for f in request}
    ids |= {f.name: float(np.mean(log.items.features[f.name].lengths)) for f in item}
    return RequestProfile(mean["candidates"] + negatives, ids, mean["events.item"])


def profile_model(
    schema: SearchSchema,
    settings: ModelSettings,
    *,
    name: str = "interactrank",
    batch_requests: int,
    negatives: int = 0,
    log: PreparedDataset | None = None,
    rows: Mapping[str, int] | None = None,
    ids: Mapping[str, float] | None = None,
    candidates: float | None = None,
) -> ModelProfile:
    """Return the model of a config without weights, and its loads.

    Args:
        schema: what the columns of the log mean.
        settings: of the model.
        name: of the model; a variant of a config is an InteractRank.
        batch_requests: requests of a batch on each rank.
        negatives: items drawn for each request.
        log: the log as prepared, if it is; it gives rows, ids and candidates.
        rows: table -> rows, instead of those.
        ids: feature -> mean ids in a row, instead of those.
        candidates: items of a request, instead of those.

    Raises:
        TrainingError: see :func:`layout_of`, or ``ids`` names no such feature.
    """
    demand = expected_profile(schema, negatives)
    wrong = [
        f"--ids {name}: no such feature{near(name, demand.ids)}"
        for name in ids or {}
        if name not in demand.ids
    ]
    try:
        layout = layout_of(schema, log, rows or {})
    except TrainingError as error:
        raise TrainingError("\n".join([str(error), *wrong])) from None
    if wrong:
        raise TrainingError("\n".join(wrong))
    if log is not None:
        demand = measured_profile(log, negatives)
    demand = RequestProfile(candidates or demand.candidates, {**demand.ids, **(ids or {})}, demand.events)
    device = torch.device("meta")
    with device:
        model = build_model(name, layout=layout, settings=settings, table_device=device)
    tables = {id(p) for p in model.tables.parameters()}
    dense = sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in tables)
    return ModelProfile(model, demand.loads(layout, batch_requests), 4 * dense)

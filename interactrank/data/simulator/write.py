"""A simulated log as a folder of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interactrank.core.atomic_directory import atomic_directory
from interactrank.data.extras import pa, pq
from interactrank.data.prepared.columns import SPLITS
from interactrank.data.simulator.behaviour import Block, blocks
from interactrank.data.simulator.searches import DAY
from interactrank.data.simulator.settings import COUNTRIES, GENDERS, SimulationSettings
from interactrank.data.simulator.world import World, build_world
from interactrank.version import __version__

RECORD = "simulation.json"
FILES = ("events.parquet", "items.parquet", "users.parquet", RECORD)


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote.

    Attributes:
        folder: where.
        requests: number of requests.
        impressions: number of rows of ``events.parquet``.
        engagements: impressions that were engaged with: (click or save or long_click) and not short_click.
        engaged_requests: requests of each split with at least one engagement.
    """

    folder: Path
    requests: int
    impressions: int
    engagements: int
    engaged_requests: dict[str, int]


def simulate(
    settings: SimulationSettings,
    output: Path | str,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Simulate a search log with impressions and write it to a folder.

    The folder appears complete or not at all. It holds

    - ``events.parquet``: one row per impression, ordered by timestamp, request and position, with the columns
      of ``event_schema``. ``true_probability`` is the probability of engagement, (click or save or
      long_click) and not short_click, given all that nature knows, the logged position included (see
      ``behaviour.engagement_probability``): ranking by it gives the best HIT@k that any ranker could reach.
      It is the truth, not a feature.
    - ``items.parquet``: item_id, title, category, price, rating; ``vector`` if dense_dimension is above 0.
    - ``users.parquet``: user_id, country, gender.
    - ``simulation.json``: the settings and the version.

    Memory is that of the world (users, items, intents) and of one block of requests, for a log of any size.

    Args:
        settings: what to simulate.
        output: the folder to make.
        overwrite: replace the folder if it holds an earlier simulation or nothing.
        progress: called with (requests done, requests in all) after each block.

    Returns:
        Counts of what was written.

    Raises:
        FileExistsError: the folder exists, and ``overwrite`` is False or it holds something else.
        MissingExtraError: pyarrow is not installed.

    Example::

        >>> import tempfile
        >>> settings = SimulationSettings(users=5, items=60, intents=3, topics=2, requests=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     summary = simulate(settings, Path(folder) / "log")
        ...     sorted(file.name for file in summary.folder.iterdir())
        ['events.parquet', 'items.parquet', 'simulation.json', 'users.parquet']
    """
    output = Path(output)
    _refuse_to_replace(output, overwrite)
    with atomic_directory(output, replaces=FILES if overwrite else (), last=RECORD) as partial:
        world = build_world(settings)
        write_catalogue(settings, world, partial)
        record = {"version": __version__, "settings": settings.model_dump(mode="json")}
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        impressions, engagements = 0, 0
        engaged_requests = dict.fromkeys(SPLITS, 0)
        with pq.ParquetWriter(partial / "events.parquet", event_schema()) as writer:
            for block in blocks(settings, world):
                split = _splits(settings, block)
                table = event_table(settings, world, block)
                writer.write_table(table, row_group_size=table.num_rows)
                engaged = block.responses.engaged & block.shown
                impressions += table.num_rows
                engagements += int(engaged.sum())
                for number, name in enumerate(SPLITS):
                    engaged_requests[name] += int((engaged.any(axis=1) & (split == number)).sum())
                if progress is not None:
                    progress(int(block.searches.number[-1]) + 1, settings.requests)
    return SimulationSummary(output, settings.requests, impressions, engagements, engaged_requests)


def event_schema() -> pa.Schema:
    """Return the columns of ``events.parquet``, none ever null; ``position`` 1 is the top."""
    columns = {
        "request_id": pa.int64(),
        "user_id": pa.int64(),
        "query": pa.string(),
        "item_id": pa.int64(),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "position": pa.int16(),
        "click": pa.int8(),
        "save": pa.int8(),
        "long_click": pa.int8(),
        "short_click": pa.int8(),
        "true_probability": pa.float32(),
        "split": pa.string(),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def write_catalogue(settings: SimulationSettings, world: World, folder: Path) -> None:
    """Write ``items.parquet`` and ``users.parquet`` of a log."""
    pq.write_table(_item_table(settings, world), folder / "items.parquet")
    pq.write_table(_user_table(world), folder / "users.parquet")


def _refuse_to_replace(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{output} exists already; choose another folder, or pass overwrite")
    if not output.is_dir() or (any(output.iterdir()) and not (output / RECORD).exists()):
        raise FileExistsError(
            f"{output} is not a simulated log (it has no {RECORD}) and is not replaced; choose another folder"
        )


def _splits(settings: SimulationSettings, block: Block) -> npt.NDArray[np.int64]:
    """Return the number of the split of each request [R], by its time."""
    start = round(settings.start.timestamp() * 1000)
    shares = np.array([settings.train_share, settings.train_share + settings.validation_share])
    return np.searchsorted(start + shares * settings.days * DAY, block.searches.time, side="right")


def event_table(settings: SimulationSettings, world: World, block: Block) -> pa.Table:
    """Return the impressions of a block as rows of ``events.parquet``."""
    request, place = np.nonzero(block.shown)  # row and slot of each impression
    searches, responses = block.searches, block.responses
    schema = event_schema()
    per_request: dict[str, Any] = {
        "request_id": pa.array(searches.number),
        "user_id": pa.array(searches.user),
        "query": pa.array(searches.texts(world)),
        "timestamp": pa.array(searches.time).cast(schema.field("timestamp").type),
        "split": pa.array(SPLITS).take(pa.array(_splits(settings, block))),
    }
    per_impression: dict[str, npt.NDArray[Any]] = {
        "item_id": block.item,
        "click": responses.click.astype(np.int8),
        "save": responses.save.astype(np.int8),
        "long_click": responses.long_click.astype(np.int8),
        "short_click": responses.short_click.astype(np.int8),
        "true_probability": responses.probability,
    }
    columns = {name: column.take(pa.array(request)) for name, column in per_request.items()}
    columns |= {name: pa.array(values[block.shown]) for name, values in per_impression.items()}
    columns["position"] = pa.array((place + 1).astype(np.int16))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _item_table(settings: SimulationSettings, world: World) -> pa.Table:
    items = world.items
    columns: dict[str, Any] = {
        "item_id": pa.array(np.arange(settings.items)),
        "title": pa.array(items.title),
        "category": pa.array(items.category),
        "price": pa.array(items.price),
        "rating": pa.array(items.rating),
    }
    if settings.dense_dimension:
        columns["vector"] = pa.FixedSizeListArray.from_arrays(
            pa.array(items.vector.ravel()), settings.dense_dimension
        )
    return pa.table(columns)


def _user_table(world: World) -> pa.Table:
    users = world.users
    return pa.table(
        {
            "user_id": pa.array(np.arange(len(users.country))),
            "country": pa.array([COUNTRIES[number] for number in users.country]),
            "gender": pa.array([GENDERS[number] for number in users.gender]),
        }
    )

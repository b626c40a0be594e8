"""How close the loader comes to reading its columns, and to nothing else.

    python -m benchmarks.loader --threads 1 --rounds 5

A call makes all batches of an epoch; its time is given for one batch. ``arrow_scan``, the limit, reads the
row groups that the loader reads, the same columns, and drops them. ``loader`` is :class:`SearchLoader` with
its epoch's order, item features and tensors; ``prefetch`` makes batches in a thread ahead; ``negatives``
draws NEGATIVES items for each request and looks up their history. The peer, ``torch_dataloader``, is what one
would write first: a DataLoader over rows that lie in memory as Python objects, padded by Python. It makes the
same values, which is checked before anything is measured.

Shapes: B requests of a batch, CANDIDATES of each, at most L events of a user.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import report
from benchmarks.harness import Contestant, Group, Samples, Script, Step, alternate, main
from benchmarks.padded_rows import check_equal, padded_loader
from benchmarks.synthetic_log import CANDIDATES, prepared
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.settings import LoaderSettings

SIZES = (16, 64, 256, 512)  # B, at LENGTH
LENGTHS = (10, 30, 100)  # L, at batches of SIZE
LENGTH, SIZE, NEGATIVES = 30, 64, 20
LARGE = 200_000  # items of a catalogue, next to the usual 1000
PEER_REQUESTS = 512  # the peer's epoch: it is slow
STAGES = {
    "reading row groups": ("loader.py", "_read"),
    "shuffling and cutting": ("loader.py", "_requests"),
    "logged candidates": ("prepared_requests.py", "candidates"),
    "lists out of Arrow": ("arrow_lists.py", "from_arrow"),
    "features of the items": ("jagged.py", "take"),
    "keyed jagged tensors": ("collate.py", "_ids"),
    "collate, all of it": ("collate.py", "collate"),
    "the epoch": ("loader.py", "_batches"),
}


def loader(log: PreparedDataset, size: int, **settings: Any) -> SearchLoader:
    """The training split in batches of ``size``, without prefetching where nothing else is said."""
    wanted = {"batch_requests": size, "prefetch": 0} | settings
    return SearchLoader(log, "train", LoaderSettings.model_validate(wanted))


def scan(of: SearchLoader) -> Step:
    """Reads what an epoch of a loader reads."""
    columns = of._columns(everything=False)
    files = [pq.ParquetFile(path, memory_map=True) for path in of.dataset.files("train")]

    def step() -> int:
        rows = 0
        for file in files:
            for group in range(file.num_row_groups):
                rows += file.read_row_group(group, columns=columns).num_rows
        return rows

    return step


def epoch(of: SearchLoader) -> Step:
    """All batches of an epoch."""

    def step() -> int:
        return sum(batch.num_requests for batch in of.epoch(0))

    return step


def peer(log: PreparedDataset, size: int) -> tuple[Step, int]:
    """The peer's epoch, and how many requests it has."""
    columns = loader(log, size)._columns(everything=False)
    rows, loaded = padded_loader(log, columns, size, limit=max(size, PEER_REQUESTS))

    def step() -> int:
        return sum(len(batch["request_index"]) for batch in loaded)

    return step, rows


def group(log: PreparedDataset, size: int, length: int, *, with_peer: bool = True) -> Group:
    """The contestants at a size of batches and a length of sequences."""
    plain = loader(log, size)
    requests = plain.num_requests
    steps = {
        "arrow_scan": (scan(plain), requests),
        "loader": (epoch(plain), requests),
        "loader_prefetch": (epoch(loader(log, size, prefetch=2)), requests),
        "loader_negatives": (epoch(loader(log, size, negatives=NEGATIVES)), requests),
    }
    if with_peer:
        steps["torch_dataloader"] = peer(log, size)

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        found = alternate(
            {name: step for name, (step, _) in steps.items()},
            rounds=rounds,
            warmup=min(warmup, 1),
            device=torch.device("cpu"),
        )
        return {
            name: Samples(*([s * size / steps[name][1] for s in of] for of in (taken.wall, taken.cpu)))
            for name, taken in found.items()
        }

    items = len(log.items)
    settings = {
        "batch": size,
        "sequence": length,
        "items": items,
        "candidates": size * CANDIDATES,
        "epoch": requests,
        "data": f"{length} events, {items:,} items",
    }
    contestants = [Contestant(name, lambda s=step: s, size) for name, (step, _) in steps.items()]
    name = f"batch_{size}_sequence_{length}_items_{items}"
    return Group(name, contestants, "requests", settings, measure=measure)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """Sizes of batches at one length of sequences and in a large catalogue, then lengths at one size."""
    pa.set_cpu_count(options.threads)
    sizes, lengths, large = ((4, 8, 16), (LENGTH,), 2000) if options.smoke else (SIZES, LENGTHS, LARGE)
    for length in lengths:
        with log_of(options, length) as log:
            check(log)
            for size in sizes if length == LENGTH else (SIZE,):
                yield group(log, size, length)
    with log_of(options, LENGTH, items=large) as log:
        for size in sizes:
            yield group(log, size, LENGTH, with_peer=False)


@contextlib.contextmanager
def log_of(options: argparse.Namespace, length: int, items: int = 1000) -> Iterator[PreparedDataset]:
    """A prepared log whose users have long histories."""
    events = 4000 if options.smoke else options.events
    with tempfile.TemporaryDirectory() as folder:
        yield prepared(Path(folder), events, items=items, users=max(20, events // 250), sequence=length)


def check(log: PreparedDataset) -> None:
    """Loader and peer make the same values."""
    of = SearchLoader(log, "train", LoaderSettings(batch_requests=8, prefetch=0), shuffle=False)
    _, padded = padded_loader(log, of._columns(everything=False), 8, limit=16)
    for batch, other in zip(of.epoch(0), padded, strict=False):
        check_equal(log, batch, other)


def profile(run: Callable[[], object]) -> dict[str, float]:
    """CPU seconds in each of :data:`STAGES`, with what it calls."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    found = {}
    # `stats` is what pstats' own printing reads; its types leave it out.
    for (file, _, name), (*_, total, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        found[Path(file).name, name] = total
    return {stage: found.get(key, 0.0) for stage, key in STAGES.items()}


def tables(options: argparse.Namespace, result: dict[str, Any]) -> list[report.Table]:
    """Where the time of a small and of a large batch goes."""
    sizes = (4, 16) if options.smoke else (SIZES[0], SIZES[-1])
    with log_of(options, LENGTH) as log:
        taken = []
        for size in sizes:
            run = epoch(loader(log, size))
            run()
            taken.append(profile(run))
    whole = [of["the epoch"] for of in taken]
    rows = [[stage, *(of[stage] / all_ for of, all_ in zip(taken, whole, strict=True))] for stage in STAGES]
    return [
        report.Table(
            title="Where the time goes",
            columns=["with all that it calls", *(f"share at {size} requests" for size in sizes)],
            rows=rows,
            note="Under cProfile, which makes many small calls look dearer. Stages lie within each other: "
            "reading within cutting; lists, items and tensors within collate.",
        )
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--events", type=int, default=128_000, help="of the log that is loaded")


SCRIPT = Script(
    name="loader",
    question="How many requests a second does the loader make, next to a scan of the same columns?",
    groups=groups,
    arguments=arguments,
    tables=tables,
    memory=False,
    x_axis="batch",
    series="data",
)

if __name__ == "__main__":
    main(SCRIPT)

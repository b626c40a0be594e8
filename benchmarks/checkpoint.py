"""What a checkpoint costs: how long training stands still, and how fast the files are written.

    python -m benchmarks.checkpoint                 # 0.25 to 2 GB, on the disk of --folder
    python -m benchmarks.checkpoint --smoke

One rank, ID tables with row-wise Adagrad. In every round the same bytes are written plainly (a file for each
table, flushed to disk), saved synchronously and saved in the background; all three end with an fsync.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from benchmarks import machine, report, tables
from interactrank.checkpoint.store import CheckpointStore
from interactrank.distributed.world import current_world, process_group
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.shard import shard_model
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.settings import TrainingSettings

QUESTION = "How long does a checkpoint hold training up, and how fast is it written?"
DIM = 64
WAYS = {
    "plain": "plain files",
    "sync": "synchronous",
    "blocked": "background: training stands still",
    "background": "background: until it is complete",
    "load": "loading (checksums, then values)",
}
WRITERS = ("plain", "sync", "background")


class Tables(nn.Module):
    """ID tables and a small dense layer, without a forward: only its state is used."""

    def __init__(self, count: int, rows: int) -> None:
        super().__init__()
        self.ebc = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=f"table{n}", embedding_dim=DIM, num_embeddings=rows, feature_names=[f"feature{n}"]
                )
                for n in range(count)
            ],
            device=torch.device("meta"),
        )
        self.dense = nn.Linear(DIM, DIM)


def build(count: int, rows: int) -> tuple[DistributedModelParallel, TrainingOptimizer]:
    """The sharded model and its optimizer."""
    settings = TrainingSettings(unused_parameters=True)
    model, world = Tables(count, rows), current_world()
    dmp = shard_model(model, make_plan(model, settings, world), settings, world)
    return dmp, build_optimizer(dmp, settings, 1)


def write_plainly(folder: Path, dmp: DistributedModelParallel) -> int:
    """A file for each table; returns the bytes."""
    folder.mkdir()
    size = 0
    for name, value in dmp.state_dict().items():
        tensor = value.local_shards()[0].tensor if hasattr(value, "local_shards") else value
        with (folder / name).open("wb") as file:
            size += file.write(tensor.detach().contiguous().view(-1).numpy().data)
            file.flush()
            os.fsync(file.fileno())
    return size


def measure(folder: Path, count: int, rows: int, rounds: int) -> dict[str, list[float]]:
    """Bytes and seconds of every way of writing, once per round and in turns; the first round warms up."""
    found: dict[str, list[float]] = {"size": []} | {key: [] for key in WAYS}
    with process_group("cpu"):
        dmp, optimizer = build(count, rows)
        stores = {
            "sync": CheckpointStore(folder / "sync", keep=1),
            "async": CheckpointStore(folder / "async", keep=1, background=True),
        }
        stores["async"].allocate_staging(dmp, optimizer)  # as train does when it begins
        for step in range(rounds + 1):
            took = dict.fromkeys(WAYS, 0.0)
            # A disk may be slower after much was written, so that nobody is always the second.
            for way in (WRITERS * 2)[step % 3 : step % 3 + 3]:
                start = time.perf_counter()
                if way == "plain":
                    found["size"].append(write_plainly(folder / "plain", dmp))
                elif way == "sync":
                    stores["sync"].save(dmp, optimizer, step)
                else:
                    stores["async"].save(dmp, optimizer, step)
                    took["blocked"] = time.perf_counter() - start
                    stores["async"].wait()
                took[way] = time.perf_counter() - start
            shutil.rmtree(folder / "plain")
            path = stores["sync"].latest()
            assert path is not None
            start = time.perf_counter()
            stores["sync"].load(path, dmp, optimizer)
            took["load"] = time.perf_counter() - start
            size = found["size"][-1] / 1e9
            print(f"{size:.2f} GB, round {step}: " + ", ".join(f"{k} {v:.2f} s" for k, v in took.items()))
            for key, value in took.items():
                found[key].append(value)
    for written in (folder / "sync", folder / "async"):
        shutil.rmtree(written)
    return found


def summary(sizes: list[dict[str, list[float]]]) -> list[report.Table]:
    """Medians by size, and how they grow with it."""
    rows, ratios = [], []
    for found in sizes:
        middle = {key: statistics.median(values[1:]) for key, values in found.items()}
        rows.append(
            [middle["size"] / 1e9, *(middle[key] for key in WAYS), middle["size"] / 1e9 / middle["sync"]]
        )

        def share(of: str, to: str, rounds: slice, found: dict = found) -> float:
            pairs = zip(found[of][rounds], found[to][rounds], strict=True)
            return statistics.median(a / b for a, b in pairs)

        first, later = slice(0, 1), slice(1, None)
        ratios.append(
            [
                middle["size"] / 1e9,
                share("plain", "sync", later),
                share("blocked", "sync", first),
                share("blocked", "sync", later),
            ]
        )
    tables = [
        report.Table(
            title="Seconds by size",
            columns=["GB", *WAYS.values(), "GB/s, synchronous"],
            rows=rows,
            note=f"Medians of {len(sizes[0]['size']) - 1} rounds, after one to warm up.",
        ),
        report.Table(
            title="Ratios by size",
            columns=[
                "GB",
                "bandwidth over plain files' (target 0.5)",
                "standing still over synchronous, first (target below 0.1)",
                "the same, later (target below 0.1)",
            ],
            rows=ratios,
            note="Medians of the ratios within a round. The first is that of the round to warm up.",
        ),
    ]
    if len(sizes) > 1:
        (small, *early), (large, *late) = rows[0][:-1], rows[-1][:-1]
        growth = [math.log(b / a) / math.log(large / small) for a, b in zip(early, late, strict=True)]
        tables.append(
            report.Table(
                title="Growth with size",
                columns=list(WAYS.values()),
                rows=[growth],
                note=f"Exponent between {small:.2f} and {large:.2f} GB; 1 is in proportion to the size.",
            )
        )
    return tables


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it works")
    parser.add_argument(
        "--tables", type=int, nargs="+", default=[1, 2, 4, 8], help="of 256 MB each; numbers to go through"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the temporary folder by default")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load = machine.load()
    torch.set_num_threads(1)
    rows, rounds = (1000, 1) if options.smoke else (1_000_000, options.rounds)
    counts = [1, 2] if options.smoke else options.tables
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        found = [measure(Path(name), count, rows, rounds) for count in counts]
    tables.write(
        "checkpoint", QUESTION, summary(found), smoke=options.smoke, load_before=load, folder=options.output
    )


if __name__ == "__main__":
    main()

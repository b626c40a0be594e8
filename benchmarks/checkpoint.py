"""What a checkpoint costs: how long training stands still, and how fast the files are written.

    python -m benchmarks.checkpoint                 # 2 GB, on the disk of --folder
    python -m benchmarks.checkpoint --smoke

One rank, ID tables with row-wise Adagrad. In every round the same bytes are written plainly (a file for each
table, flushed to disk), saved synchronously and saved in the background; all three end with an fsync.
"""

from __future__ import annotations

import argparse
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
from interactrank.training.checkpoint import CheckpointStore
from interactrank.training.course import Position
from interactrank.training.distributed import current_world, process_group
from interactrank.training.optimizers import TrainingOptimizer, build_optimizer
from interactrank.training.plan import make_plan
from interactrank.training.settings import TrainingSettings
from interactrank.training.sharding import shard_model

QUESTION = "How long does a checkpoint hold training up, and how fast is it written?"
DIM = 64


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


def seconds(work: object) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    assert callable(work)
    work()
    return time.perf_counter() - start


def measure(folder: Path, count: int, rows: int, rounds: int) -> report.Table:
    """Every way of writing, once per round and in turns."""
    found: dict[str, list[float]] = {key: [] for key in ("plain", "sync", "blocked", "background", "load")}
    blocked_share: list[float] = []
    speed: list[float] = []
    with process_group("cpu"):
        dmp, optimizer = build(count, rows)
        stores = {
            "sync": CheckpointStore(folder / "sync", keep=1),
            "async": CheckpointStore(folder / "async", keep=1, background=True),
        }
        size = 0
        for step in range(rounds + 1):
            position = Position(step=step)
            took: dict[str, float] = {}
            start = time.perf_counter()
            size = write_plainly(folder / "plain", dmp)
            took["plain"] = time.perf_counter() - start
            shutil.rmtree(folder / "plain")
            store = stores["sync"]
            # B023: the lambdas are called at once, before the loop goes on.
            took["sync"] = seconds(lambda: store.save(dmp, optimizer, position))  # noqa: B023
            start = time.perf_counter()
            stores["async"].save(dmp, optimizer, position)
            took["blocked"] = time.perf_counter() - start
            stores["async"].wait()
            took["background"] = time.perf_counter() - start
            path = store.latest()
            assert path is not None
            took["load"] = seconds(lambda: store.load(path, dmp, optimizer))  # noqa: B023
            print(f"round {step}: " + ", ".join(f"{k} {v:.2f} s" for k, v in took.items()), flush=True)
            if step == 0:
                first = took["blocked"]
                continue
            for key, value in took.items():
                found[key].append(value)
            blocked_share.append(took["blocked"] / took["sync"])
            speed.append(took["plain"] / took["sync"])
    middle = {key: statistics.median(values) for key, values in found.items()}
    rate = {key: size / 1e9 / value for key, value in middle.items()}
    ways = [
        ("plain files", "plain"),
        ("checkpoint, synchronous", "sync"),
        ("checkpoint in the background: training stands still", "blocked"),
        ("checkpoint in the background: until it is complete", "background"),
        ("loading it (checksums, then values)", "load"),
    ]
    return report.Table(
        title=f"{size / 1e9:.2f} GB",
        columns=["what", "seconds p50", "lowest", "highest", "GB/s"],
        rows=[[what, middle[k], min(found[k]), max(found[k]), rate[k]] for what, k in ways],
        note=(
            f"Of {rounds} rounds. Bandwidth of a synchronous checkpoint over that of plain files, in the "
            f"same round: {statistics.median(speed):.2f} (target 0.5). Time that the background option holds "
            f"training up, over the synchronous time: {statistics.median(blocked_share):.3f} (target below "
            f"0.1); the first one, which has no memory to reuse yet, {first:.2f} s."
        ),
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny size, to see that it works")
    parser.add_argument("--tables", type=int, default=8, help="of 256 MB each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the temporary folder by default")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load = machine.load()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = 1000 if options.smoke else 1_000_000
        table = measure(
            Path(name), count=options.tables, rows=rows, rounds=1 if options.smoke else options.rounds
        )
    tables.write(
        "checkpoint", QUESTION, [table], smoke=options.smoke, load_before=load, folder=options.output
    )


if __name__ == "__main__":
    main()

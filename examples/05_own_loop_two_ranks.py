"""A training loop of one's own on two ranks: own model, plan, sharded tables, checkpoints, exact resume.

torchrun --standalone --nproc-per-node 2 examples/05_own_loop_two_ranks.py
torchx run -s local_cwd dist.ddp -j 1x2 --script examples/05_own_loop_two_ranks.py
python examples/05_own_loop_two_ranks.py      # one rank
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor

from interactrank.checkpoint import CheckpointStore
from interactrank.core.logging import configure_command_line
from interactrank.distributed import World, process_group, run_on_rank0
from interactrank.modules import MLP, ParallelMaskNet
from interactrank.sharding import make_plan, shard_model
from interactrank.training import DataSchedule, TensorBatch, TrainingSettings, build_optimizer, make_pipeline

FEATURES, ROWS, DIM = ["item", "tag"], 1000, 16
SETTINGS = TrainingSettings.model_validate({"epochs": 2, "schedule": {"decay": "cosine", "warmup_steps": 5}})


@dataclass
class Shown(TensorBatch):
    ids: KeyedJaggedTensor  # an item and 0 to 4 tags a row
    clicked: Tensor  # [B] float32


class Dense(nn.Module):  # in a module of its own, so that the exchange of ids overlaps with it
    def __init__(self) -> None:
        super().__init__()
        self.cross = ParallelMaskNet(in_dim=2 * DIM, blocks=2, block_dim=32)
        self.head = MLP(in_dim=self.cross.out_dim, hidden_dims=[32], out_dim=1)

    def forward(self, pooled: KeyedTensor, clicked: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.head(self.cross(torch.cat([pooled[name] for name in FEATURES], dim=1))).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(scores, clicked), scores


class ClickModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        tables = [EmbeddingBagConfig(ROWS, DIM, f"t_{name}", feature_names=[name]) for name in FEATURES]
        self.tables, self.dense = EmbeddingBagCollection(tables=tables), Dense()

    def forward(self, batch: Shown) -> tuple[Tensor, Tensor]:
        return self.dense(self.tables(batch.ids), batch.clicked)


class Log:
    def __init__(self, rank: int) -> None:
        self.rank, self.steps_per_epoch = rank, 20

    def epoch(self, n: int, start: int = 0) -> Iterator[Shown]:
        for step in range(start, self.steps_per_epoch):
            g = torch.Generator().manual_seed(10_000 * n + 100 * step + self.rank)
            lengths = torch.cat([torch.ones(64, dtype=torch.long), torch.randint(5, (64,), generator=g)])
            values = torch.randint(ROWS, (int(lengths.sum()),), generator=g)
            ids = KeyedJaggedTensor(FEATURES, values, lengths=lengths)
            yield Shown(ids, (ids["item"].values() % 3 == 0).float())


def train(folder: str, world: World, stop_after: int | None = None) -> list[float]:
    torch.manual_seed(0)  # the same first weights on every rank
    model, losses = ClickModel(), []
    with CheckpointStore(folder) as checkpoints:
        newest = checkpoints.latest()
        start = checkpoints.position(newest) if newest else None
        data = DataSchedule(Log(world.rank), SETTINGS, start, ranks=world.size)
        dmp = shard_model(model, make_plan(model, SETTINGS, world), SETTINGS, world)
        optimizer = build_optimizer(dmp, SETTINGS, data.schedule_steps)
        if newest:
            checkpoints.load(newest, dmp, optimizer)
        pipeline = make_pipeline(dmp, optimizer, SETTINGS)
        for segment in data.segments(10):  # a checkpoint every 10 steps
            for step in segment:
                optimizer.start_step(data.schedule_step(step))
                losses.append(float(pipeline.progress(segment.batches).loss))
            checkpoints.save(dmp, optimizer, segment.last, data.position(segment.last).to_json())
            if segment.last == stop_after:
                break
    return losses


if __name__ == "__main__":
    configure_command_line()  # prints what the library logs, and silences known warnings of others
    with process_group("cpu") as world:
        folder = run_on_rank0("making a folder", tempfile.mkdtemp)
        whole = train(f"{folder}/whole", world)
        parts = train(f"{folder}/parts", world, stop_after=10) + train(f"{folder}/parts", world)
        assert parts == whole, "the resumed run differs"
        if world.is_main:
            print(f"{world.size} ranks: loss {whole[0]:.3f} -> {whole[-1]:.3f}, the same when resumed at 10")

"""A training loop of one's own on two ranks: own model, plan, sharded tables, checkpoints, exact resume.

    torchrun --standalone --nproc-per-node 2 examples/05_own_loop_two_ranks.py
    torchx run -s local_cwd dist.ddp -j 1x2 --script examples/05_own_loop_two_ranks.py
    python examples/05_own_loop_two_ranks.py      # starts torchrun on two ranks itself

Shapes: B shown items, K user tags (jagged).
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor

from interactrank.checkpoint import CheckpointStore
from interactrank.distributed import World
from interactrank.modules import MLP, ParallelMaskNet
from interactrank.sharding import make_plan, shard_model
from interactrank.training import (
    DataPosition,
    DataSchedule,
    TensorBatch,
    TrainingSettings,
    build_optimizer,
    make_pipeline,
    seed_everything,
)

ROWS, DIM = {"item": 1000, "tag": 200}, 16
SETTINGS = TrainingSettings.model_validate(
    {"epochs": 2, "checkpoint_every": 10, "schedule": {"decay": "cosine", "warmup_steps": 5}}
)


@dataclass
class Shown(TensorBatch):
    ids: KeyedJaggedTensor  # item: 1 a row, tag: 0 to 4 a row
    clicked: Tensor  # [B] float32


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mask_net = ParallelMaskNet(2 * DIM, blocks=2, hidden=32)
        self.head = MLP(self.mask_net.out_dim, [1])

    def forward(self, pooled: KeyedTensor, clicked: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([pooled["item"], pooled["tag"]], dim=1)
        scores = self.head(self.mask_net(x)).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(scores, clicked), scores


class ClickModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        configs = [
            EmbeddingBagConfig(name=f"t_{n}", embedding_dim=DIM, num_embeddings=r, feature_names=[n])
            for n, r in ROWS.items()
        ]
        self.tables, self.dense = EmbeddingBagCollection(tables=configs), Dense()

    def forward(self, batch: Shown) -> tuple[Tensor, Tensor]:
        return self.dense(self.tables(batch.ids), batch.clicked)


class Log:
    """40 batches of 64 rows an epoch, made up; a real one reads its share of the rows by rank."""

    def __init__(self, world: World) -> None:
        self.rank, self.steps_per_epoch = world.rank, 40 // world.size

    def epoch(self, n: int, start: int = 0) -> Iterator[Shown]:
        for step in range(start, self.steps_per_epoch):
            g = torch.Generator().manual_seed(10_000 * n + 10 * step + self.rank)
            item, tags = torch.randint(ROWS["item"], (64,), generator=g), torch.randint(5, (64,), generator=g)
            values = torch.cat([item, torch.randint(ROWS["tag"], (int(tags.sum()),), generator=g)])
            lengths = torch.cat([torch.ones_like(tags), tags])
            yield Shown(KeyedJaggedTensor(["item", "tag"], values, lengths=lengths), (item % 3 == 0).float())


def train(folder: Path, world: World, stop_after: int | None = None) -> list[float]:
    """Return this rank's losses of the steps until the end, or of those until a checkpoint."""
    torch.manual_seed(0)  # the same first weights on every rank
    model, losses = ClickModel(), []
    with CheckpointStore(folder, keep=2) as checkpoints:
        newest = checkpoints.latest()
        at = DataPosition.from_json(checkpoints.position(newest)) if newest else None
        data = DataSchedule(Log(world), SETTINGS, at, ranks=world.size)
        dmp = shard_model(model, make_plan(model, SETTINGS, world), SETTINGS, world)
        optimizer = build_optimizer(dmp, SETTINGS, data.schedule_steps)
        seed_everything(SETTINGS.seed, world.rank)
        if newest:
            checkpoints.load(newest, dmp, optimizer)
        pipeline = make_pipeline(dmp.train(), optimizer, SETTINGS)
        for segment in data.segments(SETTINGS.checkpoint_every):
            for step in segment:
                optimizer.start_step(data.schedule_step(step))
                losses.append(float(pipeline.progress(segment.batches).loss))
            checkpoints.save(dmp, optimizer, segment.last, data.position(segment.last).to_json())
            if segment.last == stop_after:
                break
    return losses


if __name__ == "__main__":
    if "RANK" not in os.environ:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        os.execv(sys.executable, [*launch, __file__])

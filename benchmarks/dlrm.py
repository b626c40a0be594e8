"""A model that is not ours through the public session, next to a bare TorchRec loop.

    python -m benchmarks.dlrm --threads 1

``torchrec.models.dlrm.DLRM`` with the layers of TorchRec's example, on synthetic data in the shape of
Criteo's display ads: 13 numbers and 26 ids a row, tables as large as Kaggle's but at most 100,000 rows, ids
that fall off as 1/rank. ``session`` is :func:`interactrank.training.setup` and its steps. ``bare`` is what
TorchRec's documentation writes: its planner, DistributedModelParallel, fused optimizers, and its overlapped
pipeline on two ranks. Both begin with the same weights, and their first losses must agree. They take turns in
one process group.

Shapes: B rows of the batch on a rank.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer_in_backward
from torchrec.datasets.utils import Batch
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.models.dlrm import DLRM, DLRMTrain
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from benchmarks.harness import Contestant, Group, Samples, Script, main
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.distributed.collectives import all_gather_objects
from interactrank.distributed.world import current_world
from interactrank.training import TrainingSettings, setup

CPU = torch.device("cpu")
# Distinct values of the 26 ids in Kaggle's display advertising challenge, as Meta's DLRM code counts them.
VALUES = [
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194),
    *(27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572),
]
MOST_ROWS = 100_000
NUMBERS, DIM = 13, 64
DENSE_ARCH, OVER_ARCH = [512, 256, DIM], [512, 512, 256, 1]  # of TorchRec's example
BATCHES = 8  # made beforehand, and used again and again
LEARNING_RATE = 0.01
SIZES = [64, 512]
TARGET = 1.0


def rows(smoke: bool) -> list[int]:
    """Of each table."""
    return [min(n, 50 if smoke else MOST_ROWS) for n in VALUES]


def model(smoke: bool) -> DLRMTrain:
    """The same weights at every call."""
    torch.manual_seed(0)
    tables = [
        EmbeddingBagConfig(name=f"t{n}", embedding_dim=DIM, num_embeddings=size, feature_names=[f"f{n}"])
        for n, size in enumerate(rows(smoke))
    ]
    bags = EmbeddingBagCollection(tables=tables, device=CPU)
    return DLRMTrain(DLRM(bags, NUMBERS, list(DENSE_ARCH), list(OVER_ARCH), dense_device=CPU))


def batches(size: int, smoke: bool) -> Iterator[Batch]:
    """Of this rank, again and again; each a new object, as ids keep what was worked out of them."""
    random = torch.Generator().manual_seed(current_world().rank)
    made = []
    for _ in range(BATCHES):
        ids = [(n ** torch.rand(size, generator=random)).long().clamp_max(n) - 1 for n in rows(smoke)]
        labels = torch.randint(0, 2, (size,), generator=random)
        made.append((torch.randn(size, NUMBERS, generator=random), torch.cat(ids), labels))
    lengths = torch.ones(len(VALUES) * size, dtype=torch.int64)
    keys = [f"f{n}" for n in range(len(VALUES))]
    for numbers, values, labels in itertools.cycle(made):
        yield Batch(numbers, KeyedJaggedTensor(keys=keys, values=values, lengths=lengths), labels)


class Endless:
    """A loader of the session."""

    steps_per_epoch = 10**7

    def __init__(self, size: int, smoke: bool) -> None:
        self.size, self.smoke = size, smoke

    def epoch(self, n: int, start: int = 0) -> Iterator[Batch]:
        """Batches without end."""
        return itertools.islice(batches(self.size, self.smoke), start, None)


class SessionLoop:
    """Steps of the library's session.

    Args:
        size: B.
        folder: of the run.
        smoke: small tables.
    """

    def __init__(self, size: int, folder: str, smoke: bool) -> None:
        settings = TrainingSettings.model_validate(
            {
                "steps": 10**7,
                "table_optimizer": {"lr": LEARNING_RATE},
                "dense_optimizer": {"lr": LEARNING_RATE, "weight_decay": 0},
                "schedule": {"decay": "constant", "warmup_steps": 0},
                "clip_norm": None,
            }
        )
        self.session = setup(model(smoke), Endless(size, smoke), settings, folder)
        self.segment = next(self.session.data.segments())
        self.number = 0

    def step(self) -> Tensor:
        """Loss of a step."""
        self.number += 1
        return self.session.step(self.number, self.segment).loss


class BareLoop:
    """Steps on plain TorchRec, in the same order of calls as its documentation has.

    Args:
        size: B.
        smoke: small tables.
    """

    def __init__(self, size: int, smoke: bool) -> None:
        world, net = current_world(), model(smoke)
        weights = {name: value.clone() for name, value in net.state_dict().items()}
        apply_optimizer_in_backward(
            RowWiseAdagrad,
            net.model.sparse_arch.embedding_bag_collection.parameters(),
            {"lr": LEARNING_RATE, "eps": 1e-8},
        )
        topology = Topology(world_size=world.size, local_world_size=world.size, compute_device="cpu")
        plan = EmbeddingShardingPlanner(topology=topology, batch_size=size).collective_plan(net)
        self.model = DistributedModelParallel(net, device=CPU, plan=plan)
        with torch.no_grad():  # on CPU they are drawn once more
            for name, value in self.model.state_dict().items():
                if not hasattr(value, "local_shards"):
                    value.copy_(weights[name])
                    continue
                for shard in value.local_shards():
                    (row, column), (count, width) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
                    shard.tensor.copy_(weights[name][row : row + count, column : column + width])
        dense = dict(in_backward_optimizer_filter(self.model.named_parameters()))
        adam = KeyedOptimizerWrapper(
            dense, lambda p: torch.optim.AdamW(p, lr=LEARNING_RATE, weight_decay=0, fused=True)
        )
        self.optimizer = CombinedOptimizer([self.model.fused_optimizer, adam])
        self.batches = batches(size, smoke)
        self.pipeline = None
        if world.size > 1:
            self.pipeline = TrainPipelineSparseDist(self.model, self.optimizer, CPU)

    def step(self) -> Tensor:
        """Loss of a step."""
        if self.pipeline is not None:
            return self.pipeline.progress(self.batches)[0]
        self.optimizer.zero_grad()
        loss, _ = self.model(next(self.batches))
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def build(size: int, folder: str, block: int, smoke: bool) -> None:
    """On every rank: both loops.

    Raises:
        RuntimeError: their first losses differ.
    """
    silence_known_warnings()
    STEPS.clear()
    loops: dict[str, Any] = {"bare": BareLoop(size, smoke), "session": SessionLoop(size, folder, smoke)}
    firsts = {}
    for name, loop in loops.items():
        _training(loop)
        firsts[name] = sum(all_gather_objects(float(loop.step())))

        def steps(loop: Any = loop) -> None:
            for _ in range(block):
                loop.step()

        STEPS[name] = steps
    if abs(firsts["bare"] - firsts["session"]) > 1e-4 * abs(firsts["bare"]):
        raise RuntimeError(f"the first losses differ: {firsts}")


def _training(loop: SessionLoop | BareLoop) -> nn.Module:
    return (loop.session.dmp if isinstance(loop, SessionLoop) else loop.model).train()


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each number of ranks and size of the batch."""
    silence_known_warnings()
    with tempfile.TemporaryDirectory() as folder:
        for ranks in options.ranks:
            with Workers(ranks) as workers:
                for size in [8] if options.smoke else SIZES:
                    yield group(workers, Path(folder) / f"{ranks}_{size}", ranks, size, options)


def group(workers: Workers, folder: Path, ranks: int, size: int, options: argparse.Namespace) -> Group:
    """Both loops on these ranks."""
    block = 2 if options.smoke else options.block

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        workers.call(build, size, str(folder), block, options.smoke)
        return take_turns({"bare": workers, "session": workers}, rounds, warmup)

    work = ranks * size * block
    contestants = [Contestant("bare", work=work), Contestant("session", work=work, target=TARGET)]
    case = f"{ranks} rank{'s' * (ranks > 1)}"
    settings: dict[str, Any] = {"case": case, "ranks": ranks, "batch": size, "judged_by": "wall"}
    return Group(f"ranks_{ranks}_batch_{size}", contestants, "samples", settings, measure=measure)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--block", type=int, default=10, help="steps of a measurement")


SCRIPT = Script(
    name="dlrm",
    question="How many samples a second does a DLRM train on in the session, next to bare TorchRec?",
    groups=groups,
    arguments=arguments,
    memory=False,
    x_axis="batch",
    series="case",
)

if __name__ == "__main__":
    main(SCRIPT)

"""The cost of the library's training loop next to a bare TorchRec loop.

    python -m benchmarks.overhead --threads 1

The demo's model and log, batches made beforehand. ``train`` is :func:`interactrank.training.train` as a job
calls it: it watches losses, asks all ranks whether to stop, and writes a row of the history in each
measurement. ``bare`` is what one would write by hand on TorchRec: the same model, plan, optimizers and
batches. In one process group they take turns of some steps; at the end both must have had the same losses.

Shapes: R requests.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer_in_backward
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardingPlan
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from benchmarks.harness import Contestant, Group, Samples, Script, main, measured
from benchmarks.workers import Workers, slowest
from interactrank.batch import SearchBatch
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data import prepare_log
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.data.simulator import simulate
from interactrank.distributed.collectives import all_gather_objects
from interactrank.distributed.world import current_world
from interactrank.models import InteractRank
from interactrank.runs.config import RunConfig, load_config
from interactrank.sharding.planner.plan import make_plan
from interactrank.sharding.settings import TableSharding
from interactrank.sharding.tables import tables_of
from interactrank.sharding.torchrec_patches.uneven_gloo import allow_uneven_batches
from interactrank.training.trainer import train

DEMO = Path(__file__).parents[1] / "interactrank" / "configs" / "demo.yaml"
CPU = torch.device("cpu")
BATCHES = 8  # made beforehand on each rank, and used again and again
# requests of a batch, whether gradients are clipped
CASES = [(8, True), (32, True), (128, True), (32, False)]
TARGET = 0.95


def config(requests: int, steps: int, block: int) -> RunConfig:
    """The demo's, for this number of steps; without dropout, so that losses can be compared."""
    return load_config(
        DEMO,
        [
            "simulate.requests=4000",
            f"loader.batch_requests={requests}",
            "loader.prefetch=0",
            "model.request_tower.input_dropout=0",
            "model.item_tower.input_dropout=0",
            f"training.steps={steps}",
            "training.epochs=null",
            f"training.log_every={block}",
            "training.validate_every=null",
            "training.dense_optimizer.weight_decay=0",
            "training.schedule.decay=constant",
            "training.schedule.min_lr_factor=null",
            "training.tensorboard=false",
        ],
    )


class BareLoop:
    """Model, optimizers and steps on plain TorchRec.

    Args:
        model: unsharded.
        plan: of its tables.
        of: learning rates and the norm that gradients are clipped to.
        batches: used in turns.
    """

    def __init__(self, model: nn.Module, plan: ShardingPlan, of: RunConfig, batches: list[SearchBatch]):
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        tables = [p for name, p in model.named_parameters() if ".embedding" in name]
        apply_optimizer_in_backward(
            RowWiseAdagrad, tables, {"lr": of.training.table_optimizer.lr, "eps": 1e-8}
        )
        self.model = DistributedModelParallel(model, device=CPU, plan=plan)
        allow_uneven_batches(self.model)  # without it gloo refuses ranks whose batches differ in size
        with torch.no_grad():  # the trainer's first weights
            for name, value in self.model.state_dict().items():
                for shard in value.local_shards() if hasattr(value, "local_shards") else ():
                    first = shard.metadata.shard_offsets[0]
                    shard.tensor.copy_(weights[name][first : first + shard.metadata.shard_sizes[0]])
        dense = dict(in_backward_optimizer_filter(self.model.named_parameters()))
        self.dense = list(dense.values())
        adam = KeyedOptimizerWrapper(
            dense,
            lambda p: torch.optim.AdamW(p, lr=of.training.dense_optimizer.lr, weight_decay=0, fused=True),
        )
        self.optimizer = CombinedOptimizer([self.model.fused_optimizer, adam])
        self.clip_norm = of.training.clip_norm
        self.batches = itertools.cycle(batches)
        self.losses: list[Tensor] = []

    def steps(self, count: int) -> None:
        """Trains on the next ``count`` batches."""
        for batch in itertools.islice(self.batches, count):
            self.optimizer.zero_grad(set_to_none=True)
            loss, _ = self.model(batch)
            loss.backward()
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.dense, self.clip_norm)
            self.optimizer.step()
            self.losses.append(loss.detach())


class TurnsLoader:
    """The trainer's batches; between two blocks of them the bare loop has its turn.

    A block lasts until the trainer asks for the batch behind it, so that all that it does after its last step
    is in the time.

    Args:
        batches: used in turns.
        bare: runs this number of steps of the bare loop.
        block: steps of a measurement.
        rounds: measurements of each.
    """

    def __init__(
        self, batches: list[SearchBatch], bare: Callable[[int], None], *, block: int, rounds: int
    ) -> None:
        self.batches, self.bare, self.block, self.rounds = batches, bare, block, rounds
        self.samples = {"bare": Samples(), "train": Samples()}
        self.steps_per_epoch = (rounds + 1) * block + 1

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        """All turns; the first of each is to warm up, the last batch is in no measurement."""
        assert (n, start) == (0, 0)
        batches = itertools.cycle(self.batches)
        for number in range(-1, self.rounds):
            for name in ("bare", "train") if number % 2 == 0 else ("train", "bare"):
                with measured(self.samples[name] if number >= 0 else Samples(), CPU):
                    if name == "bare":
                        self.bare(self.block)
                    else:
                        yield from itertools.islice(batches, self.block)
        yield next(batches)


def compete(folder: str, requests: int, block: int, rounds: int, clip: bool) -> dict[str, Samples]:
    """On every rank: samples of both loops.

    Raises:
        RuntimeError: they did not do the same.
    """
    world = current_world()
    of = config(requests, (rounds + 1) * block + 1, block)
    settings = of.training if clip else of.training.model_copy(update={"clip_norm": None})
    of = of.model_copy(update={"training": settings})
    log = PreparedDataset(Path(folder) / "prepared")
    loader = SearchLoader(log, "train", of.loader, rank=world.rank, world_size=world.size)
    batches = list(itertools.islice(loader.epoch(), BATCHES))

    def model() -> InteractRank:
        torch.manual_seed(0)
        return InteractRank(layout=log.layout, settings=of.model)

    one = model()
    # Not replicated: TorchRec by itself leaves replicated tables to the dense optimizer.
    sharded = TableSharding(types=["table_wise", "row_wise"])
    settings = settings.model_copy(update={"sharding": {t.name: sharded for t in tables_of(one)}})
    plan = make_plan(one, settings, world)
    bare = BareLoop(one, plan, of, batches)
    turns = TurnsLoader(batches, bare.steps, block=block, rounds=rounds)
    name = f"run_{world.size}_{requests}_{clip}"
    result = train(model(), turns, settings, Path(folder) / name)
    if str(result.dmp.plan) != str(plan):
        raise RuntimeError("the two loops had different plans")
    for number, row in enumerate(result.metrics[: rounds + 1]):
        mine = torch.stack(bare.losses[number * block : (number + 1) * block]).mean()
        theirs = sum(all_gather_objects(float(mine))) / world.size
        if abs(theirs - row["loss"]) > 1e-2 * abs(theirs):
            raise RuntimeError(
                f"step {row['step']}: mean losses {row['loss']} of train, {theirs} of the bare"
            )
    return turns.samples


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each number of ranks and of requests, and one without clipping."""
    silence_known_warnings()
    block = 2 if options.smoke else options.block
    with tempfile.TemporaryDirectory() as folder:
        of = config(1, 1, 1)
        assert of.simulate is not None
        size = of.simulate.model_copy(update={"requests": 200 if options.smoke else 4000})
        simulate(size, Path(folder) / "log")
        prepare_log(Path(folder) / "log", Path(folder) / "prepared", of.search, of.prepare)
        for ranks in options.ranks:
            with Workers(ranks) as workers:
                for requests, clip in [(8, True)] if options.smoke else CASES:
                    yield group(workers, folder, ranks, requests, block, clip)


def group(workers: Workers, folder: str, ranks: int, requests: int, block: int, clip: bool) -> Group:
    """Both loops on these ranks."""

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        return slowest(workers.call(compete, folder, requests, block, rounds, clip))

    work = ranks * requests * block
    contestants = [Contestant("bare", work=work), Contestant("train", work=work, target=TARGET)]
    case = f"{ranks} rank{'s' * (ranks > 1)}{'' if clip else ', no clipping'}"
    settings: dict[str, Any] = {"case": case, "ranks": ranks, "requests": requests, "steps": block}
    name = f"ranks_{ranks}_requests_{requests}{'' if clip else '_no_clipping'}"
    return Group(name, contestants, "requests", settings, measure=measure)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--block", type=int, default=50, help="steps of a measurement")


SCRIPT = Script(
    name="overhead",
    question="How many of the requests a second of a bare TorchRec loop does the library's train reach?",
    groups=groups,
    arguments=arguments,
    memory=False,
    x_axis="requests",
    series="case",
)

if __name__ == "__main__":
    main(SCRIPT)

"""The library's session on one rank, next to plain PyTorch that does the same work.

    python -m benchmarks.plain_pytorch --threads 1

``plain`` is a loop without TorchRec, FBGEMM or this library's training. Tables are ``nn.EmbeddingBag`` and
``F.embedding``, one look-up for each feature; those of more than 10,000 rows have sparse gradients and
Adagrad, the smaller ones and all layers are updated by fused AdamW, after ``clip_grad_norm_``. It has the
same sequence, cross features, layers and loss, and begins with the same weights: the first losses must be
equal. ``session`` is :func:`interactrank.training.setup` and its steps. Batches are made beforehand, for both
in the form that each reads.

Shapes: R requests, I distinct items, L events, d width of a table.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.end_to_end import MODELS, STEADY, TINY, make_log
from benchmarks.harness import Contestant, Group, Samples, Script, main
from benchmarks.overhead import DEMO
from benchmarks.workers import STEPS, Workers, take_turns
from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout, Slot
from interactrank.core.known_warnings import silence_known_warnings
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank
from interactrank.models.tables import Looked, collection_name
from interactrank.runs.config import RunConfig, load_config
from interactrank.training import setup

MADE = 8  # batches, used again and again
SMALL = 10_000  # rows up to which a dense gradient is the faster one
TARGET = 0.9
CASES = [("demo", 32), ("demo", 64), ("demo", 256), ("table_heavy", 64)]

Ids = dict[tuple[str, str], tuple[str, Tensor, Tensor]]
"""(side, feature) -> table, ids, and the first one of each row."""


def config(model: str, requests: int, *, smoke: bool) -> RunConfig:
    """The run of a model, without dropout, so that losses can be compared."""
    return load_config(
        DEMO,
        [
            *MODELS[model],
            *STEADY,
            *TINY * smoke,
            f"loader.batch_requests={8 if smoke else requests}",
            "loader.prefetch=0",
            "model.request_tower.input_dropout=0",
            "model.item_tower.input_dropout=0",
            "training.log_every=1000000",
        ],
    )


class PlainTables(nn.Module):
    """Tables as one would write them without TorchRec; stands where the model has its SearchTables.

    Args:
        tables: name -> [rows, d] first weights.
        pooling: name -> ``sum`` or ``mean``.
    """

    def __init__(self, tables: dict[str, Tensor], pooling: dict[str, str]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({f"table_{name}": weight.clone() for name, weight in tables.items()})
        self.pooling = pooling

    def forward(self, batch: Any) -> Looked:
        """Embeddings of all features."""
        pooled: Ids = batch.request_ids
        events: Ids = batch.event_ids
        found = Looked({}, {}, {})
        for (side, feature), (table, ids, starts) in pooled.items():
            weight = self.weights[f"table_{table}"]
            getattr(found, side)[feature] = F.embedding_bag(
                ids, weight, starts, mode=self.pooling[table], sparse=len(weight) > SMALL
            )
        for (side, feature), (table, ids, _) in events.items():
            weight = self.weights[f"table_{table}"]
            getattr(found, side)[feature] = F.embedding(ids, weight, sparse=len(weight) > SMALL)
        return found


def plain_batch(batch: SearchBatch, layout: BatchLayout) -> SearchBatch:
    """The same batch, its ids by feature: pooled ones as ``request_ids``, others as ``event_ids``."""
    r, i = batch.num_requests, batch.num_items
    pooled: Ids = {}
    events: Ids = {}
    for keyed, slots, sizes, into in (
        (batch.request_ids, layout.request_slots, {"request": r}, pooled),
        (batch.item_ids, layout.item_slots, {"item": i}, pooled),
        (batch.shared_ids, layout.shared_slots, {"request": r, "item": i}, pooled),
        (batch.event_ids, layout.event_slots, {"request": r, "item": i, "event": r}, events),
    ):
        for slot in slots if keyed is not None else ():
            _sections(keyed, slot, sizes, into)
    ids: dict[str, Any] = {"request_ids": pooled, "event_ids": events}
    return replace(batch, item_ids=None, shared_ids=None, **ids)


def _sections(keyed: Any, slot: Slot, sizes: dict[str, int], into: Ids) -> None:
    jagged = keyed[slot.key]
    lengths, values, row, first = jagged.lengths(), jagged.values(), 0, 0
    for section, size in sizes.items():
        mine = lengths[row : row + size]
        count = int(mine.sum())
        if (feature := getattr(slot, section)) is not None:
            starts = mine.cumsum(0) - mine
            into[section, feature] = (slot.table, values[first : first + count].clone(), starts)
        row, first = row + size, first + count


class PlainLoop:
    """Model, optimizers and steps in plain PyTorch.

    Args:
        log: whose layout the model has.
        of: widths and rates.
        batches: used in turns.
    """

    def __init__(self, log: PreparedDataset, of: RunConfig, batches: list[SearchBatch]) -> None:
        self.model = InteractRank(layout=log.layout, settings=of.model).train()
        own = {k.split(".")[-2]: v for k, v in self.model.tables.state_dict().items() if k.endswith("weight")}
        tables = {name: own[collection_name(name)] for name in log.layout.table_rows}
        pooling = {name: log.schema.tables[name].pooling for name in tables}
        self.model.tables = PlainTables(tables, pooling)  # type: ignore[assignment]
        parameters = list(self.model.parameters())
        large = [p for p in self.model.tables.parameters() if len(p) > SMALL]
        self.dense = [p for p in parameters if all(p is not other for other in large)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(self.dense, lr=of.training.dense_optimizer.lr, fused=True)
        ]
        if large:
            self.optimizers.append(torch.optim.Adagrad(large, lr=of.training.table_optimizer.lr))
        self.clip_norm = of.training.clip_norm
        self.batches = itertools.cycle([plain_batch(batch, log.layout) for batch in batches])

    def step(self) -> Tensor:
        """Loss of a step."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss, _ = self.model(next(self.batches))
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.dense, self.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()


class Made:
    """A loader of the session, on batches made beforehand."""

    steps_per_epoch = 10**7

    def __init__(self, batches: list[SearchBatch]) -> None:
        self.batches = batches

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        """Batches without end, each a new object: ids would keep what was once worked out of them."""
        for batch in itertools.islice(itertools.cycle(self.batches), start, None):
            yield replace(batch, **_fresh(batch))


def _fresh(batch: SearchBatch) -> dict[str, Any]:
    kinds = ("request_ids", "item_ids", "shared_ids", "event_ids")
    ids = {kind: getattr(batch, kind) for kind in kinds}
    return {
        kind: type(of)(keys=of.keys(), values=of.values(), lengths=of.lengths())
        for kind, of in ids.items()
        if of is not None
    }


def build(folder: str, model: str, requests: int, block: int, smoke: bool) -> None:
    """On the one rank: both loops.

    Raises:
        RuntimeError: their first losses differ.
    """
    silence_known_warnings()
    STEPS.clear()
    of = config(model, requests, smoke=smoke)
    log = PreparedDataset(Path(folder) / "prepared")
    batches = list(itertools.islice(SearchLoader(log, "train", of.loader).epoch(), MADE))
    torch.manual_seed(0)
    plain = PlainLoop(log, of, batches)
    torch.manual_seed(0)
    one = InteractRank(layout=log.layout, settings=of.model)
    session = setup(one, Made(batches), of.training, Path(folder) / f"run_{model}_{requests}")
    segment, number = next(session.data.segments()), itertools.count(1)

    def step() -> Tensor:
        return session.step(next(number), segment).loss

    losses = float(plain.step()), float(step())
    if abs(losses[0] - losses[1]) > 1e-5 * abs(losses[0]):
        raise RuntimeError(f"the first losses differ: plain {losses[0]}, session {losses[1]}")
    for name, one_step in (("plain", plain.step), ("session", step)):

        def steps(one_step: Any = one_step) -> None:
            for _ in range(block):
                one_step()

        STEPS[name] = steps


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each model and size of the batch."""
    silence_known_warnings()
    block = 2 if options.smoke else options.block
    with tempfile.TemporaryDirectory() as base, Workers(1) as workers:
        for model, requests in CASES[:1] if options.smoke else CASES:
            folder = Path(base) / model
            make_log(config(model, requests, smoke=options.smoke), folder)
            yield group(workers, str(folder), model, requests, block, options.smoke)


def group(workers: Workers, folder: str, model: str, requests: int, block: int, smoke: bool) -> Group:
    """Both loops on a model."""

    def measure(rounds: int, warmup: int) -> dict[str, Samples]:
        workers.call(build, folder, model, requests, block, smoke)
        return take_turns({"plain": workers, "session": workers}, rounds, warmup)

    work = requests * block
    contestants = [Contestant("plain", work=work), Contestant("session", work=work, target=TARGET)]
    settings: dict[str, Any] = {"model": model, "requests": requests, "steps": block}
    return Group(f"{model}_{requests}", contestants, "requests", settings, measure=measure)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this script."""
    parser.add_argument("--block", type=int, default=15, help="steps of a measurement")


SCRIPT = Script(
    name="plain_pytorch",
    question="How many requests a second of the same model in plain PyTorch does the session reach?",
    groups=groups,
    arguments=arguments,
    memory=False,
    x_axis="requests",
    series="model",
)

if __name__ == "__main__":
    main(SCRIPT)

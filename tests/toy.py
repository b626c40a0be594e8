"""A small model with every kind of table, batches for it, and a loader, for the tests of the trainer.

Shapes: R requests, C candidates, L events.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor, KeyedTensor

from interactrank.batch import CrossFeatureTensors, SearchBatch

ROWS = {"queries": 21, "words": 16, "products": 13}
DIM = 8


class ToyModel(nn.Module):
    """Pooled ids, the mean of the events and two numbers, through a linear layer, to a logit a candidate."""

    def __init__(self, *, seed: int = 0, dim: int = DIM, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.ebc = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(
                    name=name,
                    embedding_dim=dim,
                    num_embeddings=ROWS[name],
                    feature_names=[name],
                    pooling=PoolingType.MEAN,
                )
                for name in ("queries", "words")
            ]
        )
        self.ec = EmbeddingCollection(
            tables=[
                EmbeddingConfig(
                    name="products",
                    embedding_dim=dim,
                    num_embeddings=ROWS["products"],
                    feature_names=["products"],
                )
            ]
        )
        self.rest = _Dense(dim=dim, dropout=dropout)

    def forward(self, batch: SearchBatch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.rest(self.ebc(batch.request_ids), self.ec(batch.event_ids), batch)


class _Dense(nn.Module):
    """All but the tables, in a module of its own, so that TorchRec's pipeline need not trace it."""

    def __init__(self, *, dim: int, dropout: float) -> None:
        super().__init__()
        self.tower = nn.Linear(3 * dim + 2, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim + 1, 1)

    def forward(
        self, pooled: KeyedTensor, events: dict[str, JaggedTensor], batch: SearchBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        history = events["products"]
        values, lengths = history.values(), history.lengths()
        request = torch.repeat_interleave(torch.arange(batch.num_requests, device=lengths.device), lengths)
        total = values.new_zeros(batch.num_requests, values.shape[1]).index_add(0, request, values)
        mean = total / lengths.clamp(min=1)[:, None]
        x = torch.cat([pooled["queries"], pooled["words"], mean, batch.request_dense], dim=1)
        towers = self.dropout(self.norm(torch.relu(self.tower(x))))
        per_candidate = torch.cat([towers[batch.candidate_request()], batch.cross.number], dim=1)
        logits = self.head(per_candidate)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.labels)
        return loss, {"scores": logits.detach(), "loss/bce": loss.detach()}


def toy_batch(seed: int, requests: int = 6, *, events: bool = True) -> SearchBatch:
    """A random batch; without ``events`` no request has any."""
    g = torch.Generator().manual_seed(seed)

    def ids(table: str, lengths: Tensor) -> Tensor:
        return torch.randint(0, ROWS[table], (int(lengths.sum()),), generator=g)

    r = requests
    candidates = torch.randint(1, 4, (r,), generator=g)
    words = torch.randint(0, 4, (r,), generator=g)
    history = torch.randint(0, 5, (r,), generator=g) if events else torch.zeros(r, dtype=torch.long)
    one = torch.ones(r, dtype=torch.long)
    c, n = int(candidates.sum()), int(history.sum())
    return SearchBatch(
        request_index=torch.arange(r),
        item_index=torch.arange(5),
        candidate_lengths=candidates,
        candidate_item=torch.randint(0, 5, (c,), generator=g),
        request_ids=KeyedJaggedTensor(
            keys=["queries", "words"],
            values=torch.cat([ids("queries", one), ids("words", words)]),
            lengths=torch.cat([one, words]),
        ),
        item_ids=None,
        shared_ids=None,
        event_ids=KeyedJaggedTensor(keys=["products"], values=ids("products", history), lengths=history),
        request_dense=torch.randn(r, 2, generator=g),
        item_dense=torch.zeros(5, 0),
        event_lengths=history,
        event_action=torch.zeros(n, dtype=torch.long),
        event_age=torch.ones(n),
        cross=CrossFeatureTensors(torch.zeros(c, 0), torch.zeros(r, 0), torch.randn(c, 1, generator=g)),
        labels=torch.randint(0, 2, (c, 1), generator=g).float(),
        weights=torch.ones(c),
        sampling_log_q=torch.zeros(c),
    )


class ToyLoader:
    """Batches by epoch, number and rank; rank 1 has more requests, and sometimes no events at all.

    Args:
        rank: of this process.
        steps_per_epoch: batches of a pass.
        nan_at: (epoch, number) of a batch whose numbers are NaN on rank ``nan_rank``.
        nan_rank: see ``nan_at``.
    """

    def __init__(
        self,
        rank: int = 0,
        steps_per_epoch: int = 4,
        nan_at: tuple[int, int] | None = None,
        nan_rank: int = 0,
    ) -> None:
        self.rank = rank
        self.steps_per_epoch = steps_per_epoch
        self.nan_at = nan_at if rank == nan_rank else None

    def batch(self, epoch: int, number: int) -> SearchBatch:
        seed = 1000 * epoch + 10 * number + self.rank
        batch = toy_batch(seed, 6 + 3 * self.rank, events=not (self.rank == 1 and number % 3 == 0))
        if self.nan_at == (epoch, number):
            batch.request_dense[0, 1] = float("nan")
        return batch

    def epoch(self, n: int, start: int = 0) -> Iterator[SearchBatch]:
        for number in range(start, self.steps_per_epoch):
            yield self.batch(n, number)


class SignalledLoader(ToyLoader):
    """Sends its own process SIGTERM while it makes batch ``at``."""

    def __init__(self, rank: int, at: tuple[int, int]) -> None:
        super().__init__(rank)
        self.at = at

    def batch(self, epoch: int, number: int) -> SearchBatch:
        if (epoch, number) == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(epoch, number)

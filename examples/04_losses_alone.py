# python examples/04_losses_alone.py
"""The loss modules alone, on plain vectors: no tables, no log, no trainer.

The same linear encoder learns from four losses which item a request engages with. Every loss returns a
value per row and head; HeadWeighting makes one number of them. Popular items are in-batch negatives more
often than others; LogQ learns how often from the batches themselves, and takes it out of the logits.

Shapes: R requests, I distinct items of a batch, C candidates, H heads, D dim.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from interactrank.evaluation import ranking_metrics
from interactrank.modules import (
    HeadWeighting,
    ListwiseSoftmax,
    LogQ,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    candidate_dots,
)

CATALOGUE, INPUTS, DIM, HEADS, SHOWN = 500, 12, 16, 2, 5  # heads: click, save


class Batch(NamedTuple):
    inputs: Tensor  # [R, 12]
    items: Tensor  # [I] of the catalogue, no item twice
    request: Tensor  # [C] in 0..R-1
    item: Tensor  # [C] in 0..I-1
    labels: Tensor  # [C, H]: a request's first candidate is clicked, and one in four of those is saved
    lengths: Tensor  # [R] candidates of each request


Objective = Callable[[Tensor, Tensor, Batch], Tensor]  # [R, H, D], [I, D] -> [R or C, H]


class World:
    """Requests choose by taste, and popular items more often; what else they see is popular."""

    def __init__(self) -> None:
        self.taste = torch.randn(INPUTS, CATALOGUE) / 2
        self.popularity = 1 / torch.arange(1.0, CATALOGUE + 1)

    def batch(self, requests: int) -> Batch:
        inputs = torch.randn(requests, INPUTS)
        inputs[:, 0] = 1.0  # a constant, by which an encoder can learn what everybody likes
        clicked = torch.multinomial(self.popularity * (inputs @ self.taste).exp(), 1)
        passed = torch.multinomial(self.popularity.expand(requests, -1), SHOWN - 1)
        items, item = torch.cat([clicked, passed], 1).flatten().unique(return_inverse=True)
        labels = torch.zeros(requests, SHOWN, HEADS)
        labels[:, 0, 0] = 1.0
        labels[:, 0, 1] = (torch.rand(requests) < 0.25).float()
        request, lengths = torch.arange(requests).repeat_interleave(SHOWN), torch.full((requests,), SHOWN)
        return Batch(inputs, items, request, item, labels.flatten(0, 1), lengths)


def objectives() -> dict[str, tuple[Objective, nn.Module]]:
    """Name -> the loss of a batch, and the module that holds what it learns."""
    listwise = ListwiseSoftmax()
    plain = SampledSoftmax(temperature=Temperature())
    corrected = SampledSoftmax(temperature=Temperature(), log_q=LogQ())

    def dots(query: Tensor, item: Tensor, batch: Batch) -> Tensor:
        return candidate_dots(query, item, batch.request, batch.item)

    def in_batch(loss: SampledSoftmax) -> Objective:
        return lambda q, i, b: loss(q, i, b.items, b.request, b.item, b.labels)

    return {
        "focal": (lambda q, i, b: binary_focal_loss(dots(q, i, b), b.labels), nn.Identity()),
        "listwise softmax": (lambda q, i, b: listwise(dots(q, i, b), b.labels, b.lengths), listwise),
        "sampled softmax": (in_batch(plain), plain),
        "sampled softmax, logQ": (in_batch(corrected), corrected),
    }


def train(name: str, objective: Objective, state: nn.Module, world: World, steps: int = 200) -> None:
    torch.manual_seed(1)
    encoder = nn.Linear(INPUTS, HEADS * DIM)
    catalogue = nn.Parameter(torch.randn(CATALOGUE, DIM) / 4)
    heads = HeadWeighting(weights=[3.0, 1.0])
    optimizer = torch.optim.Adam([*encoder.parameters(), catalogue, *state.parameters()], lr=1e-2)
    losses = []
    for _ in range(steps):
        batch = world.batch(64)
        query = encoder(batch.inputs).unflatten(-1, (HEADS, DIM))
        loss = heads(objective(query, catalogue[batch.items], batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():  # where does the clicked item rank in the whole catalogue, for the head click?
        test = world.batch(1000)
        scores = encoder(test.inputs)[:, :DIM] @ catalogue.T
        clicked = test.items[test.item[::SHOWN]].unsqueeze(1)
        relevant = torch.zeros_like(scores).scatter_(1, clicked, 1.0)
        table = ranking_metrics(scores.flatten(), relevant.flatten(), [CATALOGUE] * 1000, ks=[10])
    first, last, hit = np.mean(losses[:20]), np.mean(losses[-20:]), table["hit@10"].mean()
    print(f"{name:>22}: loss {first:.3f} -> {last:.3f}, HIT@10 of {CATALOGUE} items {hit:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    world = World()
    for name, (objective, state) in objectives().items():
        train(name, objective, state, world)

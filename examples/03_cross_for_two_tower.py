# python examples/03_cross_for_two_tower.py
"""Query-item history for a two-tower model that you already have.

The towers stay as they are. CountSmoothing turns what was clicked after the same query into features, and
CrossInteraction fuses them with the dot product into the score. In the made-up data most of an item's fit to
a query is a quirk of the pair, which a dot product of narrow vectors cannot hold; the pair's history does.

Shapes: R requests, C = 10 R candidates, D embedding dim.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.evaluation import ranking_metrics
from interactrank.modules import CountSmoothing, CrossInteraction

QUERIES, ITEMS, SHOWN, DIM = 100, 100, 10, 8


class PreparedRequests(NamedTuple):
    queries: Tensor  # [R]
    items: Tensor  # [C]
    request: Tensor  # [C] in 0..R-1
    labels: Tensor  # [C]
    rate: Tensor  # [C, 1] share of the query's past clicks that went to the item
    support: Tensor  # [C, 1] past clicks of the query; 0 if there are none


class World:
    """Chances of clicks, and a past from which the history is counted: before any request that is ranked."""

    def __init__(self) -> None:
        taste = torch.randn(QUERIES, 4) @ torch.randn(4, ITEMS) / 2
        self.logits = taste + 1.5 * torch.randn(QUERIES, ITEMS) - 2
        self.support = torch.randint(0, 200, (QUERIES,)) * (torch.rand(QUERIES) < 0.8)
        past = torch.multinomial(self.logits.sigmoid(), 200, replacement=True)  # the items of 200 clicks
        kept = (torch.arange(200) < self.support[:, None]).float()
        self.clicks = torch.zeros(QUERIES, ITEMS).scatter_add_(1, past, kept)

    def requests(self, count: int) -> PreparedRequests:
        queries, request = torch.randint(QUERIES, (count,)), torch.arange(count).repeat_interleave(SHOWN)
        items, query = torch.randint(ITEMS, (count * SHOWN,)), queries[request]
        labels = torch.bernoulli(self.logits[query, items].sigmoid())
        support = self.support[query].float()
        rate = self.clicks[query, items] / support.clamp_min(1)
        return PreparedRequests(queries, items, request, labels, rate[:, None], support[:, None])


class Tower(nn.Module):
    """Your own: an EmbeddingBagCollection and an MLP."""

    def __init__(self, name: str, rows: int) -> None:
        super().__init__()
        table = EmbeddingBagConfig(name=name, embedding_dim=32, num_embeddings=rows, feature_names=["id"])
        self.bags = EmbeddingBagCollection(tables=[table])
        self.mlp = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, DIM))

    def forward(self, ids: Tensor) -> Tensor:
        return self.mlp(self.bags(KeyedJaggedTensor(["id"], ids, lengths=torch.ones_like(ids)))["id"])


class TwoTower(nn.Module):
    """Your own: the score is the dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.item = Tower("query", QUERIES), Tower("item", ITEMS)
        self.bias = nn.Parameter(torch.zeros(()))

    def dots(self, batch: PreparedRequests) -> Tensor:
        return (self.query(batch.queries)[batch.request] * self.item(batch.items)).sum(-1)

    def forward(self, batch: PreparedRequests) -> Tensor:
        return self.dots(batch) + self.bias


class TwoTowerWithHistory(TwoTower):
    """What is added: a transform, and the layer in which its output meets the dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.history = CountSmoothing(features=1, transforms=["log_smoothed"], uniform_prior=1 / ITEMS)
        self.cross = CrossInteraction(heads=1, features=self.history.out_dim, initial_cross_weight=0.3)

    def forward(self, batch: PreparedRequests) -> Tensor:
        history = self.history(batch.rate, batch.support)
        missing = self.history.missing(batch.support)
        return self.cross(self.dots(batch).unsqueeze(-1), history, missing).squeeze(-1)


def train(model: TwoTower, world: World, steps: int = 300) -> None:
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        batch = world.requests(64)
        loss = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = world.requests(2000)
    with torch.no_grad():
        scores = model(test).numpy()
    table = ranking_metrics(scores, test.labels.numpy(), test.request.bincount().numpy(), ks=[3])
    auc, hit = np.nanmean(table["auc"]), np.nanmean(table["hit@3"])
    print(f"{type(model).__name__:>20}: last loss {loss.item():.3f}, test AUC {auc:.3f}, HIT@3 {hit:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    world = World()
    train(TwoTower(), world)
    train(TwoTowerWithHistory(), world)

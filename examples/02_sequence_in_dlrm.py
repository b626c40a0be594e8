# python examples/02_sequence_in_dlrm.py
"""The user sequence and the parallel MaskNet inside a plain DLRM of torchrec.models.

Two changes make the DLRM read a history: the sequence vector joins its dense features, and a MaskNet takes
the place of its over arch. In the made-up data a user returns with another interest each time, so that only
the last clicks tell which item is wanted.

Shapes: B rows, D embedding dim, L events of all rows.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.models.dlrm import DLRM
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from interactrank.evaluation import roc_auc
from interactrank.modules import (
    LearnedWeightedPooling,
    ParallelMaskNet,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    TableConfig,
    UserSequenceEmbedder,
    embedding_bag_collection,
    embedding_collection,
)

USERS, ITEMS, TOPICS, MAX_LEN, DENSE, DIM = 200, 40, 5, 20, 4, 16


class Rows(NamedTuple):
    dense: Tensor  # [B, 4]
    ids: KeyedJaggedTensor  # user, item: one id each
    events: KeyedJaggedTensor  # history: clicked items, newest first; target: the item to be scored
    ages: Tensor  # [L] hours from the click to this row
    labels: Tensor  # [B]


def make_rows(rows: int) -> Rows:
    """Item n has topic n mod 5; items of the row's interest are clicked, and fill the newer history."""
    user, item, interest = (torch.randint(n, (rows,)) for n in (USERS, ITEMS, TOPICS))
    lengths = torch.randint(MAX_LEN + 1, (rows,))
    row = torch.repeat_interleave(torch.arange(rows), lengths)
    place = torch.arange(len(row)) - (lengths.cumsum(0) - lengths)[row]  # 0 is the newest event of a row
    ages = 0.1 * 1.6 ** (place + torch.rand(len(row)))
    topic = torch.where(place < 10, interest[row], torch.randint(TOPICS, (len(row),)))
    history = topic + TOPICS * torch.randint(ITEMS // TOPICS, (len(row),))
    shown = torch.rand(rows) < 0.5  # half of the rows show an item of the interest
    item = torch.where(shown, interest + TOPICS * (item // TOPICS), item)
    labels = torch.rand(rows) < torch.where(item % TOPICS == interest, 0.7, 0.1)
    one = torch.ones(rows, dtype=torch.int64)
    ids = KeyedJaggedTensor(["user", "item"], torch.cat([user, item]), lengths=torch.cat([one, one]))
    values, lengths = torch.cat([history, item]), torch.cat([lengths, one])
    events = KeyedJaggedTensor(["history", "target"], values, lengths=lengths)
    return Rows(torch.randn(rows, DENSE), ids, events, ages, labels.float())


def plain_dlrm(dense_features: int) -> DLRM:
    tables = [
        TableConfig(name="user_id", rows=USERS, dim=DIM, features=["user"], init_scale=1.0),
        TableConfig(name="item_id", rows=ITEMS, dim=DIM, features=["item"], init_scale=1.0),
    ]
    return DLRM(
        embedding_bag_collection=embedding_bag_collection(tables),
        dense_in_features=dense_features,
        dense_arch_layer_sizes=[32, DIM],
        over_arch_layer_sizes=[32, 1],
    )


class PlainDLRM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dlrm = plain_dlrm(DENSE)

    def forward(self, rows: Rows) -> Tensor:
        return self.dlrm(rows.dense, rows.ids).squeeze(-1)


class SequenceDLRM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        keys = ["history", "target"]
        event = TableConfig(name="event", rows=ITEMS, dim=DIM, features=keys, pooling=None, init_scale=1.0)
        self.events = embedding_collection([event])
        self.sequence = UserSequenceEmbedder(
            dim=DIM,
            time=RelativeTimeEmbedding(dim=DIM),
            pooling=LearnedWeightedPooling(max_len=MAX_LEN),
            attention=QueryCrossAttention(dim=DIM),  # with the target item as the query
        )
        self.dlrm = plain_dlrm(DENSE + self.sequence.out_dim)
        crossed = DIM + 3  # the dense vector, and the dot products of dense, user and item
        mask_net = ParallelMaskNet(in_dim=crossed, blocks=2, block_dim=32)
        self.dlrm.over_arch = nn.Sequential(mask_net, nn.Linear(mask_net.out_dim, 1))

    def forward(self, rows: Rows) -> Tensor:
        found = self.events(rows.events)
        history, target = found["history"], found["target"].values()
        recent = self.sequence(history.values(), history.lengths(), ages=rows.ages, query=target)
        return self.dlrm(torch.cat([rows.dense, recent], -1), rows.ids).squeeze(-1)


def train(model: nn.Module, steps: int = 400) -> None:
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        rows = make_rows(256)
        loss = F.binary_cross_entropy_with_logits(model(rows), rows.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    test = make_rows(4000)
    with torch.no_grad():
        auc = roc_auc(model(test).numpy(), test.labels.numpy())
    print(f"{type(model).__name__:>12}: last loss {loss.item():.3f}, test AUC {auc:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    train(PlainDLRM())
    train(SequenceDLRM())

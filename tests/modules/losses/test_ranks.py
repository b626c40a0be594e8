"""Two gloo ranks with different numbers of rows equal one process on the union of their batches."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from interactrank.modules import (
    CountMinSketch,
    HeadWeighting,
    ListwiseSoftmax,
    LogQ,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    candidate_dots,
)
from interactrank.modules.losses import gather_rows, gather_sizes, mean_over_positive
from tests.ranks import run_ranks


class Model(nn.Module):
    """Two linear towers under all the losses."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.item = nn.Linear(3, 2 * 4), nn.Linear(3, 4)
        log_q = LogQ(sketch=CountMinSketch(width=256))
        self.in_batch = SampledSoftmax(temperature=Temperature(initial=0.5), log_q=log_q)
        self.listwise, self.heads = ListwiseSoftmax(), HeadWeighting(weights=[2.0, 1.0])

    def forward(self, batch):
        query, item = self.query(batch["query"]).view(-1, 2, 4), self.item(batch["item"])
        request = torch.repeat_interleave(torch.arange(len(query)), batch["lengths"])
        labels, lengths = batch["labels"], batch["lengths"]
        scores = candidate_dots(query, item, request, batch["candidate_item"])
        loss = self.heads(binary_focal_loss(scores, labels))
        listwise = self.listwise(scores, labels, lengths)
        positive = torch.zeros_like(listwise).index_add(0, request, labels) > 0
        loss = loss + mean_over_positive(listwise, positive).sum()
        in_batch = self.in_batch(query, item, batch["ids"], request, batch["candidate_item"], labels)
        return loss + mean_over_positive(in_batch, labels > 0).sum()


def model():
    torch.manual_seed(0)
    return Model()


def batches(seed):
    """A batch for each of two ranks; ranks 0 and 1 share the item 30, and rank 1 has fewer of everything."""
    generator = torch.Generator().manual_seed(seed)
    vectors = {i: torch.randn(3, generator=generator) for i in (10, 20, 30, 40, 50)}
    parts = []
    for ids, lengths in (([10, 20, 30, 40], [3, 0, 2]), ([30, 50], [2, 1])):
        candidates = sum(lengths)
        parts.append(
            {
                "query": torch.randn(len(lengths), 3, generator=generator),
                "item": torch.stack([vectors[i] for i in ids]),
                "ids": torch.tensor(ids),
                "lengths": torch.tensor(lengths),
                "candidate_item": torch.randint(len(ids), (candidates,), generator=generator),
                "labels": (torch.rand(candidates, 2, generator=generator) > 0.4).float(),
            }
        )
    return parts


def union(parts):
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    start = torch.tensor([0, len(parts[0]["ids"])])
    moved = [part["candidate_item"] + s for part, s in zip(parts, start, strict=True)]
    return whole | {"candidate_item": torch.cat(moved)}


def gradients(net):
    return {name: p.grad.clone() for name, p in net.named_parameters()}


def train_rank():
    net = model()
    parallel = nn.parallel.DistributedDataParallel(net)
    out = []
    for step in range(2):  # the second step uses what the first one counted
        net.zero_grad()
        loss = parallel(batches(step)[dist.get_rank()])
        loss.backward()
        out.append((loss.item(), gradients(net)))
    return out


def test_losses_and_gradients_equal_one_process_on_the_union():
    ranks = run_ranks(2, train_rank)
    net = model()
    for step in range(2):
        net.zero_grad()
        loss = net(union(batches(step)))
        loss.backward()
        losses = [rank[step][0] for rank in ranks]
        assert sum(losses) / 2 == pytest.approx(loss.item(), rel=1e-5)
        for rank in ranks:
            torch.testing.assert_close(rank[step][1], gradients(net), rtol=1e-4, atol=1e-6)


def gather_rank(rows):
    x = (torch.arange(rows[dist.get_rank()] * 2.0).view(-1, 2) + 100 * dist.get_rank()).requires_grad_()
    sizes = gather_sizes(len(x), x.device)
    everything = gather_rows(x, sizes)
    (
        everything * torch.arange(1.0, len(everything) + 1).unsqueeze(1) * (dist.get_rank() + 1)
    ).sum().backward()
    return sizes, everything.detach(), x.grad


@pytest.mark.parametrize("rows", [(3, 1), (0, 2)])
def test_rows_are_gathered_and_gradients_sent_back(rows):
    results = run_ranks(2, gather_rank, rows)
    expected = torch.cat([torch.arange(n * 2.0).view(-1, 2) + 100 * r for r, n in enumerate(rows)])
    # Row k (from 1) has gradient k from rank 0 and 2 k from rank 1.
    grads = 3 * torch.arange(1.0, sum(rows) + 1).unsqueeze(1).expand(-1, 2).split(list(rows))[0]
    for rank, (sizes, everything, grad) in enumerate(results):
        assert sizes == list(rows)
        torch.testing.assert_close(everything, expected)
        whole = 3 * torch.arange(1.0, sum(rows) + 1).unsqueeze(1).expand(-1, 2)
        torch.testing.assert_close(grad, whole.split(list(rows))[rank])
    torch.testing.assert_close(results[0][2], grads)

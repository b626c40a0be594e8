"""Single modules against the form in which one would write them first; forward and backward.

    python -m benchmarks.modules

Each pair computes the same numbers from the same inputs, which is checked before it is measured.

Shapes: N rows, C candidates, R requests, I items, S positives, H heads, D embedding dim, F cross features.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Contestant, Group, Script, Step, main
from interactrank.modules import CrossInteraction, ParallelMaskNet, SampledSoftmax, Temperature
from interactrank.modules.losses import merge_duplicates

Forms = dict[str, Callable[[], Tensor]]  # baseline first; each gives the output to check and to differentiate
HEADS, DIM = 3, 64


def mask_net(rows: int, width: int, block: int, device: torch.device) -> tuple[nn.Module, Forms]:
    """All blocks at once against a loop over blocks."""
    net = ParallelMaskNet(in_dim=width, blocks=4, block_dim=block).to(device)
    x = torch.randn(rows, width, device=device, requires_grad=True)

    def loop() -> Tensor:
        out = []
        for k in range(net.blocks):
            of = slice(k * net.rank, (k + 1) * net.rank)
            hidden = F.relu(F.linear(x, net.mask_in.weight[of], net.mask_in.bias[of]))
            mask = hidden @ net.mask_out_weight[k] + net.mask_out_bias[k]
            y = (mask * x) @ net.hidden_weight[k]
            out.append(F.relu(F.layer_norm(y, (net.block_dim,), net.norm_weight[k], net.norm_bias[k])))
        return torch.cat(out, -1)

    return net, {"loop": loop, "ours": lambda: net(x)}


def cross(candidates: int, features: int, device: torch.device) -> tuple[nn.Module, Forms]:
    """Weights on [C, F] once for all heads, against a concatenation per head as in the reference."""
    layer = CrossInteraction(heads=HEADS, features=features, missing="zero").to(device)
    dots = torch.randn(candidates, HEADS, device=device, requires_grad=True)
    x = torch.rand(candidates, features, device=device)

    def naive() -> Tensor:
        z = torch.cat([x.unsqueeze(1).expand(-1, HEADS, -1), dots.unsqueeze(-1)], -1)
        weight = torch.cat([layer.cross_weight[0], layer.dot_weight()])
        return (z * weight).sum(-1) + layer.bias

    return layer, {"concat_per_head": naive, "ours": lambda: layer(dots, x)}


def in_batch(
    requests: int, per_request: int, items: int, distinct: int, device: torch.device
) -> tuple[nn.Module, Forms]:
    """Sampled softmax with one row of logits per request, against one row per positive."""
    candidates = requests * per_request
    layer = SampledSoftmax(temperature=Temperature(), across_ranks=False).to(device)
    query = F.normalize(torch.randn(requests, HEADS, DIM, device=device), dim=-1).requires_grad_()
    item = F.normalize(torch.randn(items, DIM, device=device), dim=-1).requires_grad_()
    ids = torch.randperm(items, device=device) % distinct
    of_request = torch.arange(candidates, device=device) // per_request
    of_item = torch.randint(0, items, (candidates,), device=device)
    labels = (torch.rand(candidates, HEADS, device=device) < 0.1).float()

    def naive() -> Tensor:
        distinct, inverse, count = torch.unique(ids, return_inverse=True, return_counts=True)
        merged = torch.zeros(len(distinct), DIM, device=device).index_add(0, inverse, item)
        merged = merged / count.unsqueeze(-1)
        engaged = torch.zeros(requests, len(distinct), dtype=torch.bool, device=device)
        positive = labels > 0
        any_head = positive.any(-1)
        engaged[of_request[any_head], inverse[of_item[any_head]]] = True
        row, head = positive.nonzero(as_tuple=True)
        q = query[of_request[row], head] * layer.temperature()
        own = (q * item[of_item[row]]).sum(-1, keepdim=True)
        others = (q @ merged.t()).masked_fill(engaged[of_request[row]], -1e30)
        target = torch.zeros(len(row), dtype=torch.long, device=device)
        loss = F.cross_entropy(torch.cat([own, others], 1), target, reduction="none")
        return torch.zeros(candidates, HEADS, device=device).index_put((row, head), loss)

    def ours() -> Tensor:
        out: Tensor = layer(query, item, ids, of_request, of_item, labels)
        return out

    return layer, {"row_per_positive": naive, "ours": ours}


def merging(rows: int, device: torch.device) -> tuple[nn.Module, Forms]:
    """Averaging the rows of equal items against torch.unique, which waits for the device."""
    ids = torch.randint(0, max(2, rows // 2), (rows,), device=device)
    vectors = torch.randn(rows, DIM, device=device, requires_grad=True)

    def unique() -> Tensor:
        distinct, inverse, count = torch.unique(ids, return_inverse=True, return_counts=True)
        out = torch.zeros(len(distinct), DIM, device=device).index_add(0, inverse, vectors)
        return F.pad(out / count.unsqueeze(-1), (0, 0, 0, rows - len(distinct)))

    return nn.Identity(), {"torch_unique": unique, "ours": lambda: merge_duplicates(ids, vectors).vectors}


def groups(options: argparse.Namespace) -> Iterator[Group]:
    """One for each module and size."""
    device = torch.device(options.device)
    s = 8 if options.smoke else 1
    cases: list[tuple[str, int, int, str, Callable[[], tuple[nn.Module, Forms]]]] = []
    for n in (64 // s, 192 // s, 512 // s):
        cases.append(("mask_net", n, n, "rows", partial(mask_net, n, 494 // s, 2048 // s, device)))
        for k in (1, 2):
            softmax = partial(in_batch, n, 20, 5 * n, 5 * n // k, device)
            cases.append((f"in_batch_softmax_rows_each_{k}", n, n * 20, "candidates", softmax))
    for n in (4096 // s, 16384 // s, 65536 // s):
        cases.append(("cross", n, n, "candidates", partial(cross, n, 12, device)))
        cases.append(("merge_duplicates", n, n, "rows", partial(merging, n, device)))
    for module, size, work, unit, build in cases:
        name = f"{module}_{size}"
        if not options.memory_of:
            check(build)
        names = list(build()[1])
        yield Group(
            name,
            [
                Contestant(
                    n,
                    lambda b=build, n=n: step_of(b, n),
                    work,
                    target=None if i == 0 or name.startswith("merge") else 1.0,
                )
                for i, n in enumerate(names)
            ],
            unit,
            {"module": module, "size": work},
        )


def check(build: Callable[[], tuple[nn.Module, Forms]]) -> None:
    """All forms give the same numbers."""
    torch.manual_seed(0)
    _, forms = build()
    with torch.no_grad():
        first, *others = (form() for form in forms.values())
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-3, atol=1e-4)


def step_of(build: Callable[[], tuple[nn.Module, Forms]], name: str) -> Step:
    """Forward and backward of one form."""
    torch.manual_seed(0)
    module, forms = build()

    def step() -> None:
        module.zero_grad(set_to_none=True)
        forms[name]().square().mean().backward()

    return step


SCRIPT = Script(
    name="modules",
    question="What do the modules gain over the form in which one would write them first?",
    groups=groups,
    memory=False,
    x_axis="size",
    series="module",
)

if __name__ == "__main__":
    main(SCRIPT)

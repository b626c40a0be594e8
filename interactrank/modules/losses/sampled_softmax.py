"""Softmax over in-batch items: every positive against the items of all requests, on all ranks.

Shapes: R requests, I items of this rank, N items of all ranks, C candidates, H heads, D embedding dim.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.losses.accidental_hits import hits_by_request
from interactrank.modules.losses.duplicates import Merged, merge_duplicates
from interactrank.modules.losses.gather import gather_rows, gather_sizes, world_size
from interactrank.modules.losses.log_q import LogQ
from interactrank.modules.losses.temperature import Temperature
from interactrank.modules.scores import candidate_dots

NEVER = (
    -1e30
)  # a logit that takes no part: finite, so that a row without negatives has a gradient of 0, not NaN


class SampledSoftmax(nn.Module):
    """-ln softmax of a positive among the negatives of the batch.

    Negatives of a request are the distinct items of all ranks, without the items that the request itself
    engaged with (accidental hits). logQ is subtracted from positive and negative logits alike, since both
    came into the batch by the same draw. A positive s with negatives of log-sum-exp Z costs
    softplus(Z - s), a form that keeps its gradient however wrong the model is; Z is shared by all positives
    of a request, so the cost is one [R H, D] x [D, N] product.

    Args:
        temperature: scale of the logits.
        log_q: estimator of logQ; None for no correction, unless one is passed to :meth:`forward`.
        across_ranks: negatives from all ranks (waits for the device once, for their numbers), else only
            this rank's.

    Example::

        >>> import torch
        >>> loss = SampledSoftmax(temperature=Temperature(learned=False), across_ranks=False)
        >>> query = torch.tensor([[[1.0, 0.0]]])  # one request, one head
        >>> item, ids = torch.eye(2), torch.tensor([10, 20])  # candidate: item 10, engaged; negative: item 20
        >>> one = torch.tensor([0])
        >>> out = loss(query, item, ids, one, one, torch.ones(1, 1))  # ln(1 + e^(0 - 1))
        >>> round(out.item(), 4)
        0.3133
    """

    def __init__(
        self, *, temperature: Temperature, log_q: LogQ | None = None, across_ranks: bool = True
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.log_q = log_q
        self.across_ranks = across_ranks

    def forward(
        self,
        query: Tensor,
        item: Tensor,
        item_ids: Tensor,
        candidate_request: Tensor,
        candidate_item: Tensor,
        labels: Tensor,
        *,
        log_q: Tensor | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> Tensor:
        """Loss of every positive.

        Args:
            query: [R, H, D].
            item: [I, D].
            item_ids: [I] int64; equal ids are merged (their vectors averaged).
            candidate_request: [C] int64 in 0..R-1.
            candidate_item: [C] int64 in 0..I-1.
            labels: [C, H]; above 0 marks a positive of that head.
            log_q: [I] logQ of this rank's items, instead of the estimator's.
            group: the ranks; None for all.

        Returns:
            [C, H] float32, not negative; 0 where the candidate is no positive.
        """
        with torch.autocast(query.device.type, enabled=False):
            query, item, positive = query.float(), item.float(), labels > 0
            merged, slot, merged_q = self._negatives(item, item_ids, log_q, group)
            scale = self.temperature()
            query = query * scale
            logits = self.logits(query, merged.vectors, merged_q)  # [R, H, N], the one large tensor
            own = candidate_dots(query, item, candidate_request, candidate_item)  # [C, H]
            candidate_slot = slot.index_select(0, candidate_item)
            if merged_q is not None:
                own = own - merged_q.index_select(0, candidate_slot).unsqueeze(-1)
            hits = hits_by_request(
                candidate_request,
                candidate_slot,
                positive.any(-1),
                requests=query.shape[0],
                negatives=merged.ids.shape[0],
            )
            out = (hits | (merged.counts == 0)).unsqueeze(1)
            negatives = _logsumexp(torch.where(out, NEVER, logits))  # [R, H]
            loss = F.softplus(negatives.index_select(0, candidate_request) - own)
            return torch.where(positive, loss, 0)

    @staticmethod
    def logits(query: Tensor, items: Tensor, log_q: Tensor | None = None) -> Tensor:
        """Dot products less logQ: [R, H, D] x [N, D] - [N] -> [R, H, N]."""
        return F.linear(query, items, None if log_q is None else -log_q)

    def _negatives(
        self, item: Tensor, ids: Tensor, log_q: Tensor | None, group: dist.ProcessGroup | None
    ) -> tuple[Merged, Tensor, Tensor | None]:
        """Distinct items of all ranks, the slot of each of this rank's items, logQ per slot."""
        start = 0
        rows = item.shape[0]
        if self.across_ranks and world_size(group) > 1:
            sizes = gather_sizes(rows, item.device, group)
            start = sum(sizes[: dist.get_rank(group)])
            item, ids = gather_rows(item, sizes, group), gather_rows(ids, sizes, group)
            log_q = None if log_q is None else gather_rows(log_q, sizes, group)
        merged = merge_duplicates(ids, item)
        slot = merged.slot[start : start + rows]
        if log_q is not None:
            return merged, slot, torch.zeros_like(merged.counts).scatter(0, merged.slot, log_q.float())
        if self.log_q is not None:
            return merged, slot, self.log_q(merged.ids, merged.counts > 0)
        return merged, slot, None


def _logsumexp(x: Tensor) -> Tensor:
    """``torch.logsumexp`` over the last dimension for rows that hold :data:`NEVER`.

    On a CPU the exponential of such a number takes ten times as long as of one that does not underflow, so
    that what lies 80 below a row's maximum is put there: e^-80 is lost in the sum all the same.
    """
    if x.shape[-1] == 0:
        return x.sum(-1) + NEVER
    top = x.detach().amax(-1, keepdim=True)
    return (x - top).clamp_min(-80).exp().sum(-1).log() + top.squeeze(-1)

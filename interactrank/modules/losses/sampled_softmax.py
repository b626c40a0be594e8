"""Softmax over in-batch items: every positive against the items of all requests, on all ranks.

Shapes: R requests, I items of this rank, N items of all ranks, C candidates, H heads, D embedding dim.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.losses.duplicates import Merged, merge_duplicates
from interactrank.modules.losses.gather import gather_rows_with, gather_sizes, world_size
from interactrank.modules.losses.log_q import LogQ
from interactrank.modules.losses.masks import NEVER, AccidentalHits, Negatives
from interactrank.modules.losses.rank_counts import RankCounts
from interactrank.modules.losses.temperature import Temperature
from interactrank.modules.precision import wide
from interactrank.modules.scores import candidate_dots


class SampledSoftmax(nn.Module):
    """-ln softmax of a positive among the negatives of the batch.

    Negatives of a request are the distinct items of all ranks, without those that a mask leaves out: at
    first the items that the request itself engaged with (accidental hits). logQ is subtracted from positive
    and negative logits alike, since both came into the batch by the same draw. A positive s with negatives of
    log-sum-exp Z costs softplus(Z - s), a form that keeps its gradient however wrong the model is; Z is
    shared by all positives of a request, so the cost is one [R H, D] x [D, N] product. Yi et al.
    2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", section 3.

    Args:
        temperature: scale of the logits.
        log_q: estimator of logQ; None for no correction, unless one is passed to :meth:`forward`.
        across_ranks: negatives from all ranks (waits for the device once, for their numbers), else only
            this rank's.
        masks: modules ``(Negatives, masked) -> bool [R or 1, H or 1, N]``, True for negatives to leave out,
            called in this order, each with what those before it left out; None for :class:`AccidentalHits`.

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
        self,
        *,
        temperature: Temperature,
        log_q: LogQ | None = None,
        across_ranks: bool = True,
        masks: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.log_q = log_q
        self.across_ranks = across_ranks
        self.masks = nn.ModuleList([AccidentalHits()] if masks is None else masks)

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
        counts: RankCounts | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> Tensor:
        """Return the loss of every positive.

        Args:
            query: [R, H, D].
            item: [I, D].
            item_ids: [I] int64; equal ids are merged (their vectors averaged).
            candidate_request: [C] int64 in 0..R-1.
            candidate_item: [C] int64 in 0..I-1.
            labels: [C, H]; above 0 marks a positive of that head.
            log_q: [I] logQ of this rank's items, instead of the estimator's.
            counts: whose sizes are those of the ranks' items; None asks for them.
            group: the ranks; None for all.

        Returns:
            [C, H], not negative; 0 if the candidate is not a positive. Float64 if a vector is, else float32.
        """
        with torch.autocast(query.device.type, enabled=False):
            dtype = wide(torch.promote_types(query.dtype, item.dtype))
            query, item, positive = query.to(dtype), item.to(dtype), labels > 0
            merged, slot, merged_q = self._negatives(item, item_ids, log_q, counts, group)
            query = query * self.temperature()
            own = candidate_dots(query, item, candidate_request, candidate_item)  # [C, H]
            candidate_slot = slot.index_select(0, candidate_item)
            if merged_q is not None:
                own = own - merged_q.index_select(0, candidate_slot).unsqueeze(-1)
            batch = Negatives(
                logits=self.logits(query, merged.vectors, merged_q),  # [R, H, N], the one large tensor
                counts=merged.counts,
                candidate_request=candidate_request,
                candidate_slot=candidate_slot,
                positive=positive,
            )
            negatives = _logsumexp(torch.where(self._masked(batch), NEVER, batch.logits))  # [R, H]
            loss = F.softplus(negatives.index_select(0, candidate_request) - own)
            return torch.where(positive, loss, 0)

    def _masked(self, batch: Negatives) -> Tensor:
        """Return [R or 1, H or 1, N] bool, True for slots without an item and what the masks leave out."""
        masked = (batch.counts == 0).view(1, 1, -1)
        for mask in self.masks:
            masked = masked | mask(batch, masked)
        return masked

    @staticmethod
    def logits(query: Tensor, items: Tensor, log_q: Tensor | None = None) -> Tensor:
        """Return dot products less logQ: [R, H, D] x [N, D] - [N] -> [R, H, N]."""
        return F.linear(query, items, None if log_q is None else -log_q)

    def _negatives(
        self,
        item: Tensor,
        ids: Tensor,
        log_q: Tensor | None,
        counts: RankCounts | None,
        group: dist.ProcessGroup | None,
    ) -> tuple[Merged, Tensor, Tensor | None]:
        """Return the distinct items of all ranks, the slot of each of this rank's items, logQ per slot."""
        start = 0
        rows = item.shape[0]
        if self.across_ranks and world_size(group) > 1:
            sizes = gather_sizes(rows, item.device, group) if counts is None else counts.sizes
            start = sum(sizes[: dist.get_rank(group)])
            given = [] if log_q is None else [log_q.to(item.dtype)]
            item, (ids, *gathered) = gather_rows_with(item, [ids, *given], sizes, group)
            log_q = gathered[0] if gathered else None
        merged = merge_duplicates(ids, item)
        slot = merged.slot[start : start + rows]
        if log_q is not None:
            return merged, slot, torch.zeros_like(merged.counts).scatter(0, merged.slot, log_q.to(item.dtype))
        if self.log_q is not None:
            return merged, slot, self.log_q(merged.ids, merged.counts > 0, dtype=item.dtype)
        return merged, slot, None


def _logsumexp(x: Tensor) -> Tensor:
    """Return ``torch.logsumexp`` over the last dimension, for rows that hold :data:`NEVER`.

    On a CPU the exponential of such a number takes ten times as long as of one that does not underflow, so
    that what lies 80 below a row's maximum is put there: e^-80 is lost in the sum all the same.
    """
    if x.shape[-1] == 0:
        return x.sum(-1) + NEVER
    top = x.detach().amax(-1, keepdim=True)
    return (x - top).clamp_min(-80).exp().sum(-1).log() + top.squeeze(-1)

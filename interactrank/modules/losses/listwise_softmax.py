"""Listwise softmax over the candidates of a request.

Shapes: R requests, C candidates (jagged under requests), H heads.
"""

import torch
from torch import Tensor, nn

from interactrank.modules.losses.reduce import global_mean
from interactrank.modules.precision import wide
from interactrank.modules.segments import segment_ids, segment_logsumexp, segment_sum


class ListwiseSoftmax(nn.Module):
    """Cross-entropy between a request's labels and the softmax of its candidates' final scores.

    ListNet's top-one loss (Cao et al. 2007): what a ranker is asked for is the order within a request, and
    this loss sees nothing else. With several positives the target is spread over them in proportion to their
    labels (times weights). Requests without a positive cost 0. Where negatives were sampled, subtracting
    ln(expected draws) from their scores makes the sampled softmax consistent with the full one.

    Example::

        >>> import torch
        >>> loss = ListwiseSoftmax()
        >>> scores, labels = torch.zeros(5, 1), torch.tensor([[1.0], [0.0], [0.0], [0.0], [0.0]])
        >>> loss(scores, labels, torch.tensor([4, 1])).tolist()  # ln 4; no positive
        [[1.3862943649291992], [0.0]]
    """

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        candidate_lengths: Tensor,
        *,
        weights: Tensor | None = None,
        log_sampling: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of every request.

        Args:
            scores: [C, H] final logits.
            labels: [C, H], not negative.
            candidate_lengths: [R] int64, summing to C.
            weights: [C] or [C, H], share of a positive in its request's target; None for 1.
            log_sampling: [C], ln of the expected number of draws of a sampled candidate, 0 for a logged one.

        Returns:
            [R, H], not negative; float64 for float64 scores, else float32.
        """
        dtype = wide(scores.dtype)
        scores, target = scores.to(dtype), labels.to(dtype)
        if weights is not None:
            target = target * (weights if weights.dim() == 2 else weights.unsqueeze(-1)).to(dtype)
        if log_sampling is not None:
            scores = scores - log_sampling.to(dtype).unsqueeze(-1)
        requests = candidate_lengths.shape[0]
        ids = segment_ids(candidate_lengths, scores.shape[0])
        total = segment_sum(target, ids, requests)
        norm = segment_logsumexp(scores, ids, requests)
        cost = segment_sum(target * (norm.index_select(0, ids) - scores), ids, requests)
        return cost / torch.where(total > 0, total, 1)


def mean_over_positive(losses: Tensor, positive: Tensor, mean_count: Tensor | None = None) -> Tensor:
    """Return the mean loss of the rows that have a positive, over all ranks.

    Args:
        losses: [N, H], 0 where there is no positive.
        positive: [N, H] bool.
        mean_count: [H] the mean number of positives of a rank, if it is known already.

    Returns:
        [H]; 0 for a head without positives.

    Example::

        >>> mean_over_positive(torch.tensor([[2.0], [0.0]]), torch.tensor([[True], [False]])).tolist()
        [2.0]
    """
    return global_mean(losses, positive.float().sum(0), mean_count=mean_count)

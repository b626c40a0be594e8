"""Where the relevant candidates of each request stand: what every ranking metric is computed from.

Logged candidates (jagged) and full-corpus ranking (dense) both reduce to :class:`RelevantRanks`.

**The ranks are pessimistic**: a relevant candidate stands behind every irrelevant one with the same score,
and among relevant ones the lower gain stands first, so that no order of the input can change a result. The
group of candidates that each relevant one is tied with is kept: :mod:`interactrank.evaluation.ties` gives the
mean over all orders of the tied ones.

Shapes: R requests, C candidates (jagged under requests), N items of a corpus, P relevant (request, candidate)
pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array, as_floats, as_integers, request_index

__all__ = ["RelevantRanks", "ranks_of_candidates"]


@dataclass(frozen=True)
class RelevantRanks:
    """The ranks of the relevant candidates of R requests; built by :meth:`from_pairs` or a function below.

    Attributes:
        candidates: [R] int64, how many candidates each request ranked.
        request: [P] int64 in 0..R-1, non-decreasing.
        rank: [P] int64 in 1..candidates, 1 is the best; strictly increasing within a request.
        tied: [P] int64, irrelevant candidates with the same score (they are already counted in ``rank``).
        gain: [P] float64 above 0, how relevant: 1 for binary labels.
        group: [P] int64, non-decreasing: the relevant candidates of a request with the same score have one.
    """

    candidates: NDArray[np.int64]
    request: NDArray[np.int64]
    rank: NDArray[np.int64]
    tied: NDArray[np.int64]
    gain: NDArray[np.float64]
    group: NDArray[np.int64]

    @property
    def num_requests(self) -> int:
        """R, including requests without a relevant candidate."""
        return len(self.candidates)

    @classmethod
    def from_pairs(
        cls,
        *,
        candidates: Array,
        request: Array,
        rank: Array,
        tied: Array | None = None,
        gain: Array | None = None,
    ) -> RelevantRanks:
        """Check and order ranks that were found elsewhere (by a search engine, say).

        Args:
            candidates: [R] how many candidates each request ranked.
            request: [P] the request of each relevant candidate, in any order.
            rank: [P] its pessimistic rank in 1..candidates of that request, all different within a request.
            tied: [P] irrelevant candidates with the same score; none when left out. Relevant ones in
                successive ranks with an equal number above 0 are tied with each other, too.
            gain: [P] relevance above 0; 1 when left out.

        Raises:
            ValueError: a length, range or uniqueness above is broken.

        Example::

            >>> RelevantRanks.from_pairs(candidates=[5, 5], request=[1, 0, 1], rank=[4, 1, 2]).rank
            array([1, 2, 4])
        """
        counts = as_integers(candidates, "candidates")
        requests = as_integers(request, "request", below=len(counts))
        pairs = len(requests)
        ranks = as_integers(rank, "rank", minimum=1)
        ties = np.zeros(pairs, np.int64) if tied is None else as_integers(tied, "tied")
        gains = np.ones(pairs) if gain is None else as_floats(gain, "gain", finite=True).astype(np.float64)
        for name, column in (("rank", ranks), ("tied", ties), ("gain", gains)):
            if len(column) != pairs:
                raise ValueError(f"{name} has {len(column)} entries but request has {pairs}")
        if (gains <= 0).any():
            raise ValueError(f"gain[{(gains <= 0).argmax()}] is not above 0; leave irrelevant candidates out")
        order = np.lexsort((ranks, requests))
        requests, ranks = requests[order], ranks[order]
        if (ranks > counts[requests]).any():
            at = (ranks > counts[requests]).argmax()
            raise ValueError(
                f"request {requests[at]} has rank {ranks[at]} but only {counts[requests[at]]} candidates"
            )
        one_request = requests[1:] == requests[:-1]
        same = one_request & (ranks[1:] == ranks[:-1])
        if same.any():
            raise ValueError(
                f"request {requests[:-1][same][0]} has two relevant candidates at rank "
                f"{ranks[:-1][same][0]}; name each candidate once and give tied ones successive ranks"
            )
        ties = ties[order]
        starts = np.ones(pairs, dtype=bool)
        starts[1:] = ~(one_request & (ties[1:] > 0) & (ties[1:] == ties[:-1]) & (ranks[1:] == ranks[:-1] + 1))
        return cls(counts, requests, ranks, ties, gains[order], np.cumsum(starts) - 1)

    def take(self, requests: NDArray[np.bool_]) -> RelevantRanks:
        """Return the ranks of some requests, renumbered.

        Args:
            requests: [R] bool mask.

        Example::

            >>> ranks = RelevantRanks.from_pairs(candidates=[5, 5], request=[0, 1], rank=[4, 2])
            >>> ranks.take(np.array([False, True])).rank
            array([2])
        """
        pairs = requests[self.request]
        return RelevantRanks(
            candidates=self.candidates[requests],
            request=(np.cumsum(requests) - 1)[self.request[pairs]],
            rank=self.rank[pairs],
            tied=self.tied[pairs],
            gain=self.gain[pairs],
            group=self.group[pairs],
        )


def ranks_of_candidates(scores: Array, labels: Array, candidate_lengths: Array) -> RelevantRanks:
    """Rank the jagged candidates of each request by score.

    Args:
        scores: [C] any real numbers, infinities included; higher is better.
        labels: [C] relevance, 0 = irrelevant, above 0 = relevant (the gain of NDCG).
        candidate_lengths: [R] candidates of each request, 0 allowed.

    Returns:
        The ranks of the candidates with a label above 0.

    Raises:
        ValueError: a NaN score, a negative or non-finite label, lengths that do not sum to C.

    Example::

        >>> ranks = ranks_of_candidates([0.1, 0.9, 0.5, 0.5], [1, 0, 1, 0], [2, 2])
        >>> ranks.rank, ranks.tied  # the second request ties: pessimistic
        (array([2, 2]), array([0, 1]))
    """
    score = as_floats(scores, "scores")
    label = as_floats(labels, "labels", finite=True, minimum=0.0)
    if len(label) != len(score):
        raise ValueError(f"labels has {len(label)} entries but scores has {len(score)}")
    request = request_index(candidate_lengths, len(score))
    lengths = as_integers(candidate_lengths, "candidate_lengths")

    order = np.lexsort((label, -score, request))
    score, label = score[order], label[order]
    position = np.arange(len(score)) - (np.cumsum(lengths) - lengths)[request]
    relevant = label > 0

    starts = np.ones(len(score), dtype=bool)
    starts[1:] = (score[1:] != score[:-1]) | (request[1:] != request[:-1])
    tie_group = np.cumsum(starts) - 1
    irrelevant_in_group = np.bincount(tie_group[~relevant], minlength=int(starts.sum()))
    return RelevantRanks(
        candidates=lengths,
        request=request[relevant],
        rank=position[relevant] + 1,
        tied=irrelevant_in_group[tie_group[relevant]].astype(np.int64),
        gain=label[relevant].astype(np.float64),
        group=tie_group[relevant],
    )

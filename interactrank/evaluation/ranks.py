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
import torch
from numpy.typing import NDArray

from interactrank.evaluation.arrays import Array, as_floats, as_integers, request_index

__all__ = ["RelevantRanks", "ranks_of_candidates", "ranks_of_relevant"]

_BLOCK_ELEMENTS = 1 << 21  # scores that a step of ranks_of_relevant compares at once (8 MB of float32)


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


def ranks_of_relevant(
    scores: Array,
    relevant: tuple[Array, Array],
    excluded: tuple[Array, Array] | None = None,
    gains: Array | None = None,
) -> RelevantRanks:
    """Rank the relevant items among a whole corpus, from a dense block of scores.

    Call it for each chunk of requests and concatenate the frames of
    :func:`~interactrank.evaluation.metrics.request_metrics`: memory is that of one block, [chunk, N]. Nothing
    is sorted; each relevant item is compared with its row. Runs where ``scores`` is.

    Args:
        scores: [R, N] tensor or array; higher is better; infinities allowed. Not changed.
        relevant: (request [P] in 0..R-1, item [P] in 0..N-1), each pair once.
        excluded: (request [E], item [E]) pairs taken out of the ranking (accidental hits, items seen before).
        gains: [P] relevance above 0; 1 when left out.

    Returns:
        The ranks of the relevant items among the items that are not excluded.

    Raises:
        ValueError: a NaN score, a pair out of range, a relevant pair named twice or also excluded.

    Example::

        >>> scores = torch.tensor([[0.9, 0.8, 0.1, 0.5]])
        >>> ranks_of_relevant(scores, relevant=([0], [3])).rank
        array([3])
        >>> ranks_of_relevant(scores, relevant=([0], [3]), excluded=([0], [0])).rank
        array([2])
    """
    block = torch.as_tensor(scores).detach()
    _check_block(block)
    rows, items = block.shape
    request, item = _pairs(relevant, rows, items, "relevant")
    gain = _gains(gains, len(request))
    pair_ids = request * items + item
    if len(np.unique(pair_ids)) != len(pair_ids):
        raise ValueError(
            "a relevant (request, item) pair is named twice; name each once, with its largest gain"
        )
    counts, allowed = np.full(rows, items, dtype=np.int64), None
    if excluded is not None:
        allowed = _allowed(block, excluded, pair_ids)
        counts = allowed.sum(dim=1).cpu().numpy().astype(np.int64)
    at_least, equal = _count_at_least(block, request, item, allowed)
    return _from_counts(counts, request, gain, at_least, equal)


def _from_counts(
    counts: NDArray[np.int64],
    request: NDArray[np.int64],
    gain: NDArray[np.float64],
    at_least: NDArray[np.int64],
    equal: NDArray[np.int64],
) -> RelevantRanks:
    """Ranks from how many candidates score at least as much as, and the same as, each relevant one, [P].

    ``at_least`` puts a tie of m relevant items at its last place; they get its last m places instead. Items
    of one request with the same ``at_least`` have the same score.
    """
    order = np.lexsort((gain, at_least, request))
    request, at_least, equal = request[order], at_least[order], equal[order]
    starts = np.ones(len(request), dtype=bool)
    starts[1:] = (request[1:] != request[:-1]) | (at_least[1:] != at_least[:-1])
    group = np.cumsum(starts) - 1
    size = np.bincount(group, minlength=int(starts.sum()))
    place = np.arange(len(request)) - np.flatnonzero(starts)[group]
    return RelevantRanks(
        candidates=counts,
        request=request,
        rank=at_least - size[group] + 1 + place,
        tied=equal - size[group],
        gain=gain[order],
        group=group,
    )


def _check_block(block: torch.Tensor) -> None:
    if block.dim() != 2:
        raise ValueError(f"scores has shape {list(block.shape)}; [requests, items] is needed")
    if not (block.is_floating_point() and block.numel()):
        return
    bad = torch.isnan(block.amax(dim=1))  # the maximum of a row with a NaN is NaN
    if bad.any():
        raise ValueError(
            f"scores of request {int(bad.int().argmax())} hold NaN: find out where the model made it"
        )


def _gains(gains: Array | None, pairs: int) -> NDArray[np.float64]:
    gain = np.ones(pairs) if gains is None else as_floats(gains, "gains", finite=True).astype(np.float64)
    if len(gain) != pairs or (gain <= 0).any():
        raise ValueError(f"gains must hold {pairs} numbers above 0, one per relevant pair")
    return gain


def _allowed(block: torch.Tensor, excluded: tuple[Array, Array], relevant: NDArray[np.int64]) -> torch.Tensor:
    """[R, N] False for the excluded pairs; ``relevant`` are request * N + item."""
    rows, items = block.shape
    request, item = _pairs(excluded, rows, items, "excluded")
    clash = np.intersect1d(relevant, request * items + item)
    if len(clash):
        raise ValueError(
            f"item {clash[0] % items} is both relevant and excluded for request {clash[0] // items}; "
            "drop it from one of the two"
        )
    allowed = torch.ones(rows, items, dtype=torch.bool, device=block.device)
    allowed[torch.from_numpy(request), torch.from_numpy(item)] = False
    return allowed


def _pairs(
    pairs: tuple[Array, Array], rows: int, items: int, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    request = as_integers(pairs[0], f"{name} request", below=rows)
    item = as_integers(pairs[1], f"{name} item", below=items)
    if len(request) != len(item):
        raise ValueError(
            f"{name} has {len(request)} requests but {len(item)} items; pass one item per request"
        )
    return request, item


def _count_at_least(
    scores: torch.Tensor, request: NDArray[np.int64], item: NDArray[np.int64], allowed: torch.Tensor | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each pair, the number of allowed items that score at least as much [P], and the same [P]."""
    rows = torch.from_numpy(request).to(scores.device)
    columns = torch.from_numpy(item).to(scores.device)
    step = max(1, _BLOCK_ELEMENTS // max(1, scores.shape[1]))
    at_least, equal = [], []
    for row, column in zip(rows.split(step), columns.split(step), strict=True):
        own = scores[row, column].unsqueeze(1)
        block = scores[row]
        above, same = block >= own, block == own
        if allowed is not None:
            above &= allowed[row]
            same &= allowed[row]
        at_least.append(_count_true(above))
        equal.append(_count_true(same))
    if not at_least:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(at_least), np.concatenate(equal)


def _count_true(mask: torch.Tensor) -> NDArray[np.int64]:
    """How many entries of each row are true; numpy counts ten times faster on a CPU than a sum does."""
    if mask.device.type == "cpu":
        return np.count_nonzero(mask.numpy(), axis=1).astype(np.int64)
    return mask.sum(dim=1).cpu().numpy()

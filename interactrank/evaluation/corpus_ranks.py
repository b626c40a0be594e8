"""Ranks of the relevant items among a whole corpus, without sorting it.

Shapes: R requests, N items of a corpus, P relevant (request, item) pairs.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interactrank.core.compiled import load_compiled
from interactrank.evaluation.arrays import Array, as_floats, as_integers
from interactrank.evaluation.ranks import RelevantRanks

__all__ = ["ranks_of_relevant"]

_BLOCK_ELEMENTS = 1 << 21  # scores that are compared at once (8 MB of float32)


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
    left_out = np.empty(0, np.int64) if excluded is None else _excluded(block, excluded, pair_ids)
    counts = items - np.bincount(left_out // max(items, 1), minlength=rows)
    at_least, equal = _count_at_least(block, request, item, left_out)
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


def _excluded(
    block: torch.Tensor, excluded: tuple[Array, Array], relevant: NDArray[np.int64]
) -> NDArray[np.int64]:
    """[E] ascending request * N + item of the excluded pairs, each once; so are ``relevant``."""
    rows, items = block.shape
    request, item = _pairs(excluded, rows, items, "excluded")
    found = np.unique(request * items + item)
    clash = np.intersect1d(relevant, found)
    if len(clash):
        raise ValueError(
            f"item {clash[0] % items} is both relevant and excluded for request {clash[0] // items}; "
            "drop it from one of the two"
        )
    return found


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
    scores: torch.Tensor,
    request: NDArray[np.int64],
    item: NDArray[np.int64],
    excluded: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each pair, how many items that are not excluded score at least as much [P], and the same [P]."""
    library = _library()
    if library is None or scores.dtype != torch.float32 or scores.device.type != "cpu":
        return _slow_count_at_least(scores, request, item, excluded)
    rows, items = scores.shape
    scores = scores.contiguous()
    first = np.searchsorted(excluded, np.arange(rows + 1) * items)
    arrays = [request, item, first, excluded % max(items, 1)]
    request, item, first, excluded = (np.ascontiguousarray(a, np.int64) for a in arrays)
    at_least, equal = np.empty(len(request), np.int64), np.empty(len(request), np.int64)
    library.interactrank_at_least(
        ctypes.c_void_p(scores.data_ptr()),
        ctypes.c_int64(items),
        *(ctypes.c_void_p(a.ctypes.data) for a in (request, item)),
        ctypes.c_int64(len(request)),
        *(ctypes.c_void_p(a.ctypes.data) for a in (first, excluded, at_least, equal)),
    )
    return at_least, equal


@cache
def _library() -> Any:
    library = load_compiled(Path(__file__).with_name("ranks.cpp"), ("-fno-trapping-math",))
    if library is not None:
        library.interactrank_at_least.restype = None
    return library


def _slow_count_at_least(
    scores: torch.Tensor,
    request: NDArray[np.int64],
    item: NDArray[np.int64],
    excluded: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Do what :func:`_count_at_least` does, by PyTorch alone."""
    allowed = None
    if len(excluded):
        allowed = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
        allowed.view(-1)[torch.from_numpy(excluded)] = False
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

"""Recall@k of one relevant item against a corpus, accidental hits removed (as the InteractRank reference
does).

Each row has one true item, scored with its own vector, and is ranked against a corpus of other items. Where
the corpus holds the true item itself, that entry is an *accidental hit*: it would outrank or tie with the
very item that it stands for, so it is left out. Ties count against the true item.

Shapes: R rows (requests with one true item), N corpus items, D embedding dim, K cut-offs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["corpus_outranking", "count_outranking", "recall_at_k"]


def count_outranking(
    true_scores: torch.Tensor, other_scores: torch.Tensor, ignored: torch.Tensor | None = None
) -> torch.Tensor:
    """Count how many others score at least as much as the true item: its rank counted from 0.

    Args:
        true_scores: [R] score of the true item.
        other_scores: [R, N] scores of the others.
        ignored: [R, N] bool, entries that do not count (accidental hits).

    Returns:
        [R] int64 in 0..N, 0 is best.

    Raises:
        ValueError: NaN in a score, or the shapes do not fit.

    Example::

        >>> count_outranking(torch.tensor([0.5]), torch.tensor([[0.9, 0.5, 0.1]]))
        tensor([2])
    """
    if true_scores.dim() != 1 or other_scores.dim() != 2 or len(true_scores) != len(other_scores):
        raise ValueError(
            f"true_scores {list(true_scores.shape)} and other_scores {list(other_scores.shape)} do not fit; "
            "[R] and [R, N] are needed"
        )
    if torch.isnan(true_scores).any() or torch.isnan(other_scores).any():
        raise ValueError("a score is nan; NaN is not allowed: find out where the model made it")
    outranks = other_scores >= true_scores.unsqueeze(1)
    if ignored is not None:
        outranks &= ~ignored
    return outranks.sum(dim=1)


def corpus_outranking(
    query: torch.Tensor,
    item: torch.Tensor,
    item_id: torch.Tensor,
    corpus: torch.Tensor,
    corpus_id: torch.Tensor,
    *,
    chunk: int = 1024,
) -> torch.Tensor:
    """Rank the true item of every row against a corpus by dot product.

    Args:
        query: [R, D] query embeddings, of one head.
        item: [R, D] embedding of each row's true item.
        item_id: [R] int64 id of the true item.
        corpus: [N, D] item embeddings.
        corpus_id: [N] int64 ids of the corpus; the entry with the id of the true item is left out of its row.
        chunk: rows scored at once; memory is chunk x N scores.

    Returns:
        [R] int64: corpus items that score at least as much as the true one, 0 is best.

    Raises:
        ValueError: NaN in a score, or the shapes do not fit.

    Example::

        >>> corpus_outranking(
        ...     torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.0]]), torch.tensor([7]),
        ...     torch.tensor([[0.9, 0.0], [0.5, 0.0]]), torch.tensor([3, 7]),
        ... )
        tensor([1])
    """
    if len({len(query), len(item), len(item_id)}) > 1 or len(corpus) != len(corpus_id):
        raise ValueError(
            f"{len(query)} queries, {len(item)} items and {len(item_id)} item ids must be equally many, "
            f"and so must {len(corpus)} corpus items and {len(corpus_id)} corpus ids"
        )
    counts = [
        count_outranking((queries * items).sum(dim=1), queries @ corpus.T, ids.unsqueeze(1) == corpus_id)
        for queries, items, ids in zip(
            query.split(chunk), item.split(chunk), item_id.split(chunk), strict=True
        )
    ]
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64, device=query.device)


def recall_at_k(outranking: torch.Tensor, ks: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Return recall at each cut-off with its normal-approximation error.

    With one true item a row, recall@k equals hit@k. The half-width of the 95 % interval is
    :math:`1.96\sqrt{r(1-r)/R}`; it is 0 at a recall of 0 or 1. :func:`bootstrap_intervals` is not better
    there; only more rows help.

    Args:
        outranking: [R] of :func:`count_outranking` or :func:`corpus_outranking`.
        ks: K cut-offs, 1 or more.

    Returns:
        ([K] recall in [0, 1], [K] half-width), float32; NaN for no row.

    Raises:
        ValueError: a cut-off below 1.

    Example::

        >>> recall, half_width = recall_at_k(torch.tensor([0, 2, 5, 9]), [1, 5])
        >>> recall
        tensor([0.2500, 0.5000])
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"cut-offs {list(ks)} are not allowed; every k must be 1 or more")
    cut = torch.as_tensor(list(ks), device=outranking.device)
    recall = (outranking.unsqueeze(1) < cut).double().mean(dim=0)
    half_width = 1.96 * torch.sqrt(recall * (1 - recall) / max(1, len(outranking)))
    return recall.float(), half_width.float()

"""Items through the item tower, some of them at a time.

Shapes: N items, D embedding dim.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.batch.layout import BatchLayout
from interactrank.data.loading.collate import item_batch
from interactrank.data.prepared.items import ItemTable
from interactrank.models import InteractRank

__all__ = ["encode_items"]


@torch.no_grad()
def encode_items(
    model: InteractRank,
    items: ItemTable,
    layout: BatchLayout,
    rows: NDArray[np.int64] | None = None,
    *,
    device: torch.device | None = None,
    chunk: int = 1 << 13,
) -> Tensor:
    """Return the vectors of items.

    Args:
        model: in evaluation mode; with a sharded one all ranks must call it together.
        items: of a catalogue.
        layout: of the model.
        rows: [N] of the items; None for all.
        device: where the model is; the CPU when left out.
        chunk: items through the tower at a time.

    Returns:
        [N, D], on that device.
    """
    rows = np.arange(len(items)) if rows is None else rows
    blocks = [
        model.encode_items(
            item_batch(items, rows[first : first + chunk], layout).to(device or torch.device("cpu"))
        )
        for first in range(0, len(rows), chunk)
    ]
    return torch.cat(blocks)

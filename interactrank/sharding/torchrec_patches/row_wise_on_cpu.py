"""Row-wise sharding types of pooled tables on CPU.

Symptom: the planner says "No available sharding type and compute kernel combination" for a pooled table
that is constrained to row_wise, table_row_wise or grid_shard on CPU.

Cause: ``EmbeddingBagCollectionSharder.sharding_types`` leaves them out on CPU, as gloo once had no
reduce-scatter. It has one since torch 2.8 (https://github.com/pytorch/pytorch/pull/149869).

Upstream: https://github.com/meta-pytorch/torchrec/issues/1252 (closed),
https://github.com/meta-pytorch/torchrec/pull/1396 (closed, for inference).

Versions: seen in TorchRec 1.8.0 with torch 2.13.0.

Remove when: the sharder offers them on CPU (``tests/sharding/torchrec_patches/test_row_wise_on_cpu.py``).
"""

from __future__ import annotations

from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder

__all__ = ["BagsSharder"]


class BagsSharder(EmbeddingBagCollectionSharder):
    """A sharder of EmbeddingBagCollections that offers on CPU the types that it offers on CUDA."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        """Return the sharding types of CUDA."""
        return list(super().sharding_types("cuda"))

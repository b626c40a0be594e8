"""Sharders: how TorchRec lays out and looks up every kind of collection, and what travels between ranks.

In half precision each exchange of embeddings and gradients takes half the bytes. They are turned back to
float32 on arrival; tables, sums and dense parts stay in float32.

FBGEMM must know from the start whether rows are brought into caches ahead of their batch (pipeline
``prefetch``), so that one batch does not push out what the next one has brought in.
"""

from __future__ import annotations

from torchrec.distributed.embedding import EmbeddingCollectionSharder

from interactrank.sharding.settings import ShardingSettings
from interactrank.sharding.torchrec_patches.bf16_on_cpu import codecs
from interactrank.sharding.torchrec_patches.managed_rows import managed_sharders
from interactrank.sharding.torchrec_patches.row_wise_on_cpu import BagsSharder

__all__ = ["sharders"]


def sharders(settings: ShardingSettings) -> list:
    """Return sharders of every kind of collection.

    Args:
        settings: precisions of the exchanges (``comms``), and whether rows are prefetched.
    """
    registry = codecs(settings.comms.forward, settings.comms.backward)
    fused = {"prefetch_pipeline": True} if settings.prefetches_rows else None
    bags = BagsSharder(fused, qcomm_codecs_registry=registry)
    rows = EmbeddingCollectionSharder(fused, qcomm_codecs_registry=registry)
    return [bags, rows, *managed_sharders(bags, rows)]

"""Sharders: how TorchRec lays out and looks up every kind of collection, and what travels between ranks.

In half precision each exchange of embeddings and gradients takes half the bytes. They are turned back to
float32 on arrival; tables, sums and dense parts stay in float32.

FBGEMM must know from the start whether rows will be brought into caches ahead of their batch (pipeline
``prefetch``), so that one batch does not push out what the next one has brought in.
"""

from __future__ import annotations

import torch
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.fbgemm_qcomm_codec import CommType, QCommsConfig, get_qcomm_codecs_registry

from interactrank.sharding.managed import managed_sharders
from interactrank.sharding.settings import ShardingSettings

__all__ = ["sharders"]


class _EbcSharder(EmbeddingBagCollectionSharder):
    """Offers the row-wise types on CPU, too; gloo in torch 2.13 has the reduce-scatter that they need."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(super().sharding_types("cuda"))


def sharders(settings: ShardingSettings) -> list:
    """Sharders of every kind of collection.

    Args:
        settings: precisions of the exchanges (``comms``), and the pipeline.
    """
    config = QCommsConfig(
        forward_precision=CommType(settings.comms.forward),
        backward_precision=CommType(settings.comms.backward),
    )
    # For device cpu TorchRec would take fp16 for bf16; gloo moves both.
    codecs = get_qcomm_codecs_registry(config, device=torch.device("cuda"))
    fused = {"prefetch_pipeline": True} if settings.pipeline == "prefetch" else None
    bags = _EbcSharder(fused, qcomm_codecs_registry=codecs)
    rows = EmbeddingCollectionSharder(fused, qcomm_codecs_registry=codecs)
    return [bags, rows, *managed_sharders(bags, rows)]

"""Sharders: how TorchRec lays out and looks up every kind of collection, and what travels between ranks.

In half precision each exchange of embeddings and gradients takes half the bytes. They are turned back to
float32 on arrival; tables, sums and dense parts stay in float32.
"""

from __future__ import annotations

import torch
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.fbgemm_qcomm_codec import CommType, QCommsConfig, get_qcomm_codecs_registry

from interactrank.training.managed import managed_sharders
from interactrank.training.settings import CommsSettings

__all__ = ["sharders"]


class _EbcSharder(EmbeddingBagCollectionSharder):
    """Offers the row-wise types on CPU, too; gloo in torch 2.13 has the reduce-scatter that they need."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(super().sharding_types("cuda"))


def sharders(comms: CommsSettings) -> list:
    """Sharders of every kind of collection, whose tables exchange embeddings in these precisions.

    Args:
        comms: precisions of the forward and the backward pass.
    """
    config = QCommsConfig(
        forward_precision=CommType(comms.forward), backward_precision=CommType(comms.backward)
    )
    # For device cpu TorchRec would take fp16 for bf16; gloo moves both.
    codecs = get_qcomm_codecs_registry(config, device=torch.device("cuda"))
    bags = _EbcSharder(qcomm_codecs_registry=codecs)
    rows = EmbeddingCollectionSharder(qcomm_codecs_registry=codecs)
    return [bags, rows, *managed_sharders(bags, rows)]

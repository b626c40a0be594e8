"""Embeddings and their gradients in half precision between the ranks: half the bytes of each exchange.

TorchRec turns them back to float32 on arrival; tables, sums and dense parts stay in float32.
"""

from __future__ import annotations

import torch
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.fbgemm_qcomm_codec import CommType, QCommsConfig, get_qcomm_codecs_registry

from interactrank.training.settings import CommsSettings

__all__ = ["sharders"]


def sharders(comms: CommsSettings) -> list:
    """Sharders of both kinds of collections, whose tables exchange embeddings in these precisions.

    Args:
        comms: precisions of the forward and the backward pass.
    """
    config = QCommsConfig(
        forward_precision=CommType(comms.forward), backward_precision=CommType(comms.backward)
    )
    # For device cpu TorchRec would take fp16 for bf16; gloo moves both.
    codecs = get_qcomm_codecs_registry(config, device=torch.device("cuda"))
    return [
        EmbeddingBagCollectionSharder(qcomm_codecs_registry=codecs),
        EmbeddingCollectionSharder(qcomm_codecs_registry=codecs),
    ]

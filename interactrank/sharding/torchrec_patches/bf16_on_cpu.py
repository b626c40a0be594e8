"""Embeddings that travel in bfloat16 on CPU.

Symptom: with precision bf16 on CPU, embeddings travel in float16: gradients above 65,504 are cut off there.
TorchRec logs a warning.

Cause: ``get_qcomm_codecs_registry`` takes float16 for bfloat16 on device cpu; gloo moves both.

Upstream: no issue found on 2026-11-27; the fallback came with
https://github.com/meta-pytorch/torchrec/pull/510.

Versions: seen in TorchRec 1.8.0 with torch 2.13.0.

Remove when: the codecs of device cpu encode to bfloat16
(``tests/sharding/torchrec_patches/test_bf16_on_cpu.py``).
"""

from __future__ import annotations

import torch
from torchrec.distributed.fbgemm_qcomm_codec import CommType, QCommsConfig, get_qcomm_codecs_registry
from torchrec.distributed.types import QuantizedCommCodecs

__all__ = ["codecs"]


def codecs(forward: str, backward: str) -> dict[str, QuantizedCommCodecs] | None:
    """Return what encodes embeddings (forward) and gradients (backward), on any device.

    Args:
        forward: precision ``fp32``, ``fp16`` or ``bf16``.
        backward: precision, of the same names.

    Returns:
        Codecs by collective; None if nothing is to be encoded.
    """
    config = QCommsConfig(forward_precision=CommType(forward), backward_precision=CommType(backward))
    return get_qcomm_codecs_registry(config, device=torch.device("cuda"))

import torch
from torchrec.distributed.fbgemm_qcomm_codec import CommType, QCommsConfig, get_qcomm_codecs_registry

from interactrank.sharding.torchrec_patches.bf16_on_cpu import codecs


def test_bf16_on_cpu__torchrec_still_encodes_to_float16() -> None:
    """100,000 is above the largest float16, 65,504, which FBGEMM's codec takes for it."""
    config = QCommsConfig(forward_precision=CommType.BF16, backward_precision=CommType.BF16)
    theirs, ours = get_qcomm_codecs_registry(config, device=torch.device("cpu")), codecs("bf16", "bf16")
    large = torch.full((4,), 1e5)
    assert theirs.keys() == ours.keys()
    for name in ours:
        assert theirs[name].backward.decode(theirs[name].backward.encode(large)).tolist() == [65504.0] * 4
        assert ours[name].backward.encode(large).dtype == torch.bfloat16


def test_codecs__nothing_is_encoded_in_float32() -> None:
    assert codecs("fp32", "fp32") is None

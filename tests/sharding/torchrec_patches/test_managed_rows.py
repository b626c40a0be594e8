import torch
from torchrec.distributed.mc_embeddingbag import ManagedCollisionEmbeddingBagCollectionSharder


def test_managed_rows__torchrec_still_has_no_sharding_type_for_bags_on_cpu() -> None:
    assert ManagedCollisionEmbeddingBagCollectionSharder().sharding_types("cpu") == []


def test_managed_rows__fbgemm_still_resets_rows_on_cuda_only() -> None:
    name = "fbgemm::reset_weight_momentum"
    assert torch.ops.fbgemm.reset_weight_momentum is not None  # the operator exists, for other devices
    assert not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")

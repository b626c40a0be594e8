import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules.losses import merge_duplicates


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([-(2**63), -5, 0, 3, 2**63 - 1]), max_size=12))
def test_equal_to_unique(ids):
    ids = torch.tensor(ids, dtype=torch.int64)
    vectors = torch.randn(len(ids), 2)
    merged = merge_duplicates(ids, vectors)
    unique, slot, counts = ids.unique(return_inverse=True, return_counts=True)
    n = len(unique)
    assert torch.equal(merged.ids[:n], unique)
    assert torch.equal(merged.slot, slot)
    assert torch.equal(merged.counts[:n], counts.float())
    assert (merged.counts[n:] == 0).all()
    for i in range(n):
        torch.testing.assert_close(merged.vectors[i], vectors[ids == unique[i]].mean(0))

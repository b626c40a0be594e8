import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules.segments import (
    segment_ids,
    segment_logsumexp,
    segment_positions,
    segment_softmax,
    segment_sum,
    weighted_segment_sum,
)


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 5), max_size=8), scale=st.sampled_from([1.0, 1e4]))
def test_equal_to_one_segment_at_a_time(lengths, scale):
    total = sum(lengths)
    values = torch.randn(total, 3) * scale
    ids = segment_ids(torch.tensor(lengths, dtype=torch.int64), total)
    parts = values.split(lengths)
    n = len(lengths)
    for ours, part in zip(segment_sum(values, ids, n), parts, strict=True):
        torch.testing.assert_close(ours, part.sum(0), rtol=1e-4, atol=1e-4 * scale)
    for ours, part in zip(segment_logsumexp(values, ids, n), parts, strict=True):
        if len(part):
            torch.testing.assert_close(ours, part.logsumexp(0))
        else:
            assert (ours == torch.finfo(torch.float32).min).all()
    expected = [part.softmax(0) for part in parts]
    torch.testing.assert_close(segment_softmax(values, ids, n), torch.cat([values[:0], *expected]))
    weights = torch.randn(total)
    pooled = weighted_segment_sum(values, weights, torch.tensor(lengths, dtype=torch.int64))
    expected = [(w.unsqueeze(1) * part).sum(0) for w, part in zip(weights.split(lengths), parts, strict=True)]
    torch.testing.assert_close(pooled, torch.stack(expected) if n else pooled, rtol=1e-4, atol=1e-4 * scale)


def test_positions():
    lengths = torch.tensor([0, 3, 0, 2])
    assert segment_positions(lengths, segment_ids(lengths, 5)).tolist() == [0, 1, 2, 0, 1]

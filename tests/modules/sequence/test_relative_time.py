import math

import pytest
import torch

from interactrank.modules import RelativeTimeEmbedding
from interactrank.modules.sequence import hours


def test_boundaries_belong_to_the_bucket_below():
    time = RelativeTimeEmbedding(dim=2, buckets=3)  # 0, 1, e, e^2 hours
    ages = torch.tensor([-5.0, 0.0, 1e-6, 1.0, 1.001, math.e - 1e-3, 3.0, 7.38, 7.4])
    assert time.bucket(ages).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    torch.testing.assert_close(time(ages), time.table.weight[time.bucket(ages)])


def test_epoch_sized_times_keep_their_differences():
    now = torch.tensor([1_700_000_000_123])
    assert hours(now - (now - 3_600_000)).tolist() == [1.0]  # float32 of each would be 65 s off


def test_errors_name_the_thing():
    with pytest.raises(ValueError, match="buckets is 0"):
        RelativeTimeEmbedding(dim=2, buckets=0)

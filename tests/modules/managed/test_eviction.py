import pytest
import torch

from interactrank.modules import Eviction

COUNT, SEEN = torch.tensor([8, 3, 2]), torch.tensor([1, 7, 10])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("lfu", [8, 3, 2]),
        ("lru", [1, 7, 10]),
        ("distance_lfu", [8 / 10, 3 / 4, 2 / 1]),  # look-ups for each of the steps 1 to 10, 7 to 10, 10
    ],
)
def test_eviction__score_by_hand(policy, expected):
    assert Eviction(policy=policy).score(COUNT, SEEN, step=10).tolist() == expected


def test_eviction__all_problems_are_listed():
    assert Eviction(interval=0, buckets=3).problems(rows=8) == [
        "interval is 0; it must be at least 1",
        "8 rows do not make 3 buckets of the same size, with 2 rows or more each; take a multiple of 3",
    ]
    assert Eviction(buckets=4).problems(rows=8) == []

import torch

from interactrank.modules import LearnedWeightedPooling


def test_weights_count_from_the_most_recent_event():
    pooling = LearnedWeightedPooling(max_len=2)
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor([10.0, 1.0]))
        pooling.bias.fill_(0.5)
    events = torch.tensor([[1.0], [2.0], [3.0], [7.0]])
    # 10*1 + 1*2 + 1*3 (past max_len: the last weight), nothing, 10*7; plus 0.5
    torch.testing.assert_close(
        pooling(events, torch.tensor([3, 0, 1])), torch.tensor([[15.5], [0.5], [70.5]])
    )


def test_normalised_weights_sum_to_one_over_what_is_there():
    pooling = LearnedWeightedPooling(max_len=4, normalized=True)
    with torch.no_grad():
        pooling.weight.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    events = torch.ones(3, 2)
    torch.testing.assert_close(pooling(events, torch.tensor([2, 1])), torch.ones(2, 2))
    share = pooling(torch.tensor([[1.0], [0.0]]), torch.tensor([2])).item()
    assert abs(share - 1 / (1 + torch.e)) < 1e-6  # e^0 / (e^0 + e^1)

import torch

from interactrank.modules.losses import hits_by_item, hits_by_request


def test_by_item():
    out = hits_by_item(torch.tensor([3, 4]), torch.tensor([4, 3, 4]))
    assert out.int().tolist() == [[0, 1, 0], [1, 0, 1]]


def test_by_request_any_engaged_item_of_the_request_counts_for_it_alone():
    request, slot = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 2, 1])
    engaged = torch.tensor([True, True, False, True])
    out = hits_by_request(request, slot, engaged, requests=3, negatives=3)
    assert out.int().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]

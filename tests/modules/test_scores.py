import torch

from interactrank.modules import candidate_dots, metamodel_score, mix_heads, scores


def test_dots_by_hand():
    query = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 0.0]]])
    item = torch.tensor([[3.0, 5.0], [7.0, 11.0]])
    dots = candidate_dots(query, item, torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1]))
    assert dots.tolist() == [[7.0, 22.0], [8.0, 0.0], [18.0, 0.0]]


def test_one_request_gets_the_dots_of_many(monkeypatch):
    """It goes another way: block by block (here of 2 candidates), as a matrix product."""
    monkeypatch.setattr(scores, "BLOCK", 2)
    query, item = torch.randn(2, 3, 4), torch.randn(5, 4, requires_grad=True)
    request, candidates = torch.zeros(5, dtype=torch.long), torch.tensor([4, 0, 0, 2, 1])
    expected = candidate_dots(query, item, request, candidates)
    torch.testing.assert_close(candidate_dots(query[:1], item, request, candidates), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = candidate_dots(query[:1], item, request, candidates)
    torch.testing.assert_close(found, expected)
    (grad,) = torch.autograd.grad(found.sum(), item)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), item)[0])
    assert candidate_dots(query[:1], item, request[:0], candidates[:0]).shape == (0, 3)


def test_the_mixed_query_gives_the_mean_of_the_heads_dots():
    query, item = torch.randn(2, 3, 4), torch.randn(5, 4)
    weights = torch.tensor([[1, 2, 1], [0, 0, 0]])
    mixed = mix_heads(query, weights) @ item.t()
    heads = query @ item.t()
    torch.testing.assert_close(mixed[0], (heads[0] * torch.tensor([[0.25], [0.5], [0.25]])).sum(0))
    torch.testing.assert_close(mixed[1], heads[1].mean(0))  # no weight at all: equal weights


def test_metamodel_uses_weights_as_given():
    probabilities = torch.tensor([[0.5, 0.25, 0.125]])
    assert metamodel_score(probabilities, torch.tensor([1, 0, 0])).tolist() == [0.5]
    assert metamodel_score(probabilities, torch.tensor([2.0, 4.0, 8.0])).tolist() == [3.0]

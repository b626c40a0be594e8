import math

import pytest
import torch

from interactrank.modules import QueryCrossAttention


def test_by_hand():
    attention = QueryCrossAttention(dim=1, project=False, scale=1.0)
    events, query = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[math.log(3)], [9.0], [1.0]])
    # Products 0 and ln 3: shares 1/4 and 3/4. Then nothing, then one event alone.
    out = attention(events, torch.tensor([2, 0, 1]), query)
    torch.testing.assert_close(out, torch.tensor([[0.75], [0.0], [5.0]]))


def test_large_products_are_stable():
    attention = QueryCrossAttention(dim=2, project=False, scale=1.0)
    events = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    out = attention(events, torch.tensor([2]), torch.tensor([[1e4, 0.0]]))
    out.sum().backward()
    assert out.tolist() == [[1e4, 0.0]]
    assert events.grad.isfinite().all()


def test_the_projection_fits_other_query_widths():
    attention = QueryCrossAttention(dim=4, query_dim=6)
    assert attention(torch.randn(3, 4), torch.tensor([3]), torch.randn(1, 6)).shape == (1, 4)
    with pytest.raises(ValueError, match="query_dim is 6; without project it must be dim, 4"):
        QueryCrossAttention(dim=4, query_dim=6, project=False)
    with pytest.raises(ValueError, match="query has shape"):
        attention(torch.randn(3, 4), torch.tensor([3]), torch.randn(1, 4))

import pytest
import torch

from interactrank.modules import ParallelMaskNet
from interactrank.modules.mask_blocks import _batched, _BlockByBlock, _one_by_one


def arguments(rows: int, dropout: float = 0.0) -> list:
    """Inputs of 3 blocks with 5 columns, masks of rank 2, 7 outputs; float64."""
    torch.manual_seed(0)
    shapes = [(rows, 5), (rows, 6), (3, 2, 5), (3, 1, 5), (3, 5, 7), (3, 7), (3, 7)]
    x, h, *weights = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return [x, h, dropout, *weights]


def tensors(of: list) -> list:
    return [x for x in of if torch.is_tensor(x)]


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_both_ways_give_the_same_values_and_gradients(rows):
    of = arguments(rows)
    batched, one_by_one = _batched(*of), _BlockByBlock.apply(*of)
    torch.testing.assert_close(one_by_one, batched)
    assert one_by_one.shape == (rows, 21)
    cotangent = torch.randn_like(batched)
    expected, found = (torch.autograd.grad(y, tensors(of), cotangent) for y in (batched, one_by_one))
    for e, f in zip(expected, found, strict=True):
        torch.testing.assert_close(f, e)


def test_gradients_against_finite_differences():
    assert torch.autograd.gradcheck(_BlockByBlock.apply, arguments(3))


def test_a_gradient_that_is_not_contiguous():
    of = arguments(4)
    expected, found = (
        torch.autograd.grad(f(*of).t().square().sum(), tensors(of)) for f in (_batched, _BlockByBlock.apply)
    )
    for e, f in zip(expected, found, strict=True):
        torch.testing.assert_close(f, e)


def test_a_second_derivative_is_refused_and_not_wrong():
    of = arguments(2)
    first = torch.autograd.grad(_BlockByBlock.apply(*of).square().sum(), of[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_what_was_dropped_has_no_gradient():
    of = arguments(400, dropout=0.02)
    out = _BlockByBlock.apply(*of)
    out.sum().backward()
    torch.testing.assert_close(of[-1].grad.view(-1), (out > 0).sum(0).double())  # d out / d bias is 1 or 0


def test_weights_alone_may_want_a_gradient_and_no_grad_keeps_nothing():
    net = ParallelMaskNet(in_dim=6, blocks=2, block_dim=4)
    net(torch.randn(3, 6)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with torch.no_grad():
        assert net(torch.randn(3, 6)).grad_fn is None


def test_block_by_block_only_where_nothing_else_decides_about_types_and_fusion():
    x = torch.zeros(2, 3)
    assert _one_by_one(x, x)
    assert not _one_by_one(x, x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not _one_by_one(x, x)
    assert not _one_by_one(x.to("meta"), x)

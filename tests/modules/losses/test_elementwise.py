import math

import torch

from interactrank.modules.losses import binary_focal_loss, weighted_bce


def test_by_hand():
    # Logit ln 3: p = 3/4. Positive: l = ln 4/3, factor (1/4)^2. Negative: l = ln 4, factor (3/4)^2. Weight 2.
    logits, labels = torch.full((2,), math.log(3)), torch.tensor([1.0, 0.0])
    bce, weights = torch.tensor([math.log(4 / 3), math.log(4)]), torch.tensor([2.0, 1.0])
    torch.testing.assert_close(weighted_bce(logits, labels, weights), bce * weights)
    focal = bce * torch.tensor([1 / 16, 9 / 16]) * weights
    torch.testing.assert_close(binary_focal_loss(logits, labels, weights), focal)
    torch.testing.assert_close(binary_focal_loss(logits, labels, gamma=0.0), bce)


def test_extreme_logits_have_finite_gradients():
    logits = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], requires_grad=True)
    for label in (0.0, 1.0):
        loss = binary_focal_loss(logits, torch.full((5,), label))
        (grad,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert grad.isfinite().all()


def test_the_factor_is_differentiated_too():
    logits = torch.tensor([0.3], dtype=torch.float32, requires_grad=True)
    binary_focal_loss(logits, torch.ones(1)).sum().backward()
    step = 1e-3
    up, down = (binary_focal_loss(logits.detach() + s, torch.ones(1)) for s in (step, -step))
    torch.testing.assert_close(logits.grad, (up - down) / (2 * step), rtol=1e-3, atol=1e-5)

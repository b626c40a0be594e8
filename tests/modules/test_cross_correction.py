import pytest
import torch

from interactrank.modules import CrossCorrection


def test_it_starts_at_0_and_learns_a_product():
    """A score that is the product of two features, which no affine form of them has."""
    torch.manual_seed(0)
    correct = CrossCorrection(features=2, heads=1, hidden_dims=[16])
    x = torch.randn(512, 2)
    wanted = x[:, :1] * x[:, 1:]
    assert correct(x).abs().max() == 0
    optimizer = torch.optim.Adam(correct.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (correct(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
    best_affine = torch.linalg.lstsq(torch.cat([x, torch.ones(512, 1)], 1), wanted)
    residual = (torch.cat([x, torch.ones(512, 1)], 1) @ best_affine.solution - wanted).square().mean()
    assert loss < 0.2 * residual


def test_the_value_of_an_unknown_feature_does_not_matter():
    torch.manual_seed(0)
    correct = CrossCorrection(features=2, heads=3).eval()
    torch.nn.init.normal_(correct.out.weight)
    x = torch.randn(4, 2)
    missing = torch.tensor([[True, False]] * 4)
    planted = x.clone()
    planted[:, 0] = float("nan")
    torch.testing.assert_close(correct(planted, missing), correct(x, missing), rtol=0, atol=0)
    assert not torch.allclose(correct(x, missing), correct(x))


def test_requests_by_items_are_pairs():
    torch.manual_seed(0)
    correct = CrossCorrection(features=2, heads=3).eval()
    torch.nn.init.normal_(correct.out.weight)
    x, missing = torch.randn(2, 5, 2), torch.tensor([True, False]).expand(2, 1, 2)
    whole = correct(x, missing)
    assert whole.shape == (2, 5, 3)
    pairs = correct(x.flatten(0, 1), missing.expand(2, 5, 2).flatten(0, 1))
    torch.testing.assert_close(whole.flatten(0, 1), pairs)


def test_facts_shift_the_weights_by_hand():
    """Normal features (2, -1), normal fact 3, G = (1, 10): the weights are (3, 30), the shift 6 - 30."""
    correct = CrossCorrection(features=2, heads=1, context=1).eval()
    assert correct.shift is not None
    assert correct.norm_context is not None
    correct.norm.eps = correct.norm_context.eps = 0.0
    with torch.no_grad():
        correct.shift.weight.copy_(torch.tensor([[1.0], [10.0]]))
    x, facts = torch.tensor([[2.0, -1.0]]), torch.tensor([[3.0]])
    assert correct(x, None, facts).item() == pytest.approx(-24)
    unknown = torch.tensor([[False, True]])
    assert correct(x, unknown, facts).item() == pytest.approx(6)


def test_facts_of_the_request_weigh_the_features():
    """One fact may stand for several candidates of its request."""
    torch.manual_seed(0)
    correct = CrossCorrection(features=2, heads=1, context=1).eval()
    torch.nn.init.normal_(correct.out.weight)
    x, facts = torch.randn(2, 5, 2), torch.tensor([[[0.0]], [[3.0]]])
    whole = correct(x, None, facts)
    torch.testing.assert_close(whole[1], correct(x[1], None, torch.full((5, 1), 3.0)))
    torch.testing.assert_close(whole[1], correct(x[1], None, torch.full((1, 1), 3.0)))
    assert not torch.allclose(whole[1], correct(x[1], None, torch.zeros(5, 1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features is 0"),
        ({"hidden_dims": []}, "layers is 0"),
        ({"hidden_dims": [4, 0]}, r"hidden_dims\[1\] is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossCorrection(**({"features": 2, "heads": 1} | arguments))

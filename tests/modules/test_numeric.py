import math

import pytest
import torch

from interactrank.modules import NumericNorm, NumericStats
from interactrank.modules.numeric import clip

WIDE = NumericStats(minimum=0.0, maximum=9.0, mean=3.0, std=2.0)
NARROW = NumericStats(minimum=-1.0, maximum=1.0, mean=0.0, std=0.5)
CONSTANT = NumericStats(minimum=4.0, maximum=4.0, mean=4.0, std=0.0)


def test_log_form_by_hand():
    norm = NumericNorm(stats={"wide": WIDE, "constant": CONSTANT, "narrow": NARROW}, mixture=False)
    out = norm(torch.tensor([[4.0, 4.0, 0.5], [99.0, 4.0, -7.0]]))
    # wide: ln 5 / ln 10, clipped to 9: 1. narrow (range 2, so only shifted): 1.5; clipped to -1: 0.
    expected = [[math.log(5) / math.log(10), 1.5], [1.0, 0.0]]
    torch.testing.assert_close(out, torch.tensor(expected))
    assert norm.kept == ["wide", "narrow"]


def test_mixture_of_equal_shares_by_hand():
    norm = NumericNorm(stats={"wide": WIDE})
    with torch.no_grad():
        norm.mixture_weight.zero_()  # equal shares
        norm.gain.fill_(3.0)
    # raw 4/9, log ln5/ln10, standardised (4 - 3) / 2; times 1/3 times gain 3
    expected = 4 / 9 + math.log(5) / math.log(10) + 0.5
    torch.testing.assert_close(norm(torch.tensor([[4.0]])), torch.tensor([[expected]]))


@pytest.mark.parametrize("outer", ["row", "batch"])
@pytest.mark.parametrize("inner", ["none", "batch", "layer"])
def test_nan_and_inf_leave_nothing_behind(inner, outer):
    norm = NumericNorm(stats={"wide": WIDE, "narrow": NARROW}, inner=inner, outer=outer)
    x = torch.tensor([[torch.nan, torch.inf], [2.0, -torch.inf], [5.0, torch.nan]]).requires_grad_()
    y = norm(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in norm.parameters())


def test_nan_is_the_mean_in_every_form():
    norm = NumericNorm(stats={"wide": WIDE})
    torch.testing.assert_close(norm(torch.tensor([[torch.nan]])), norm(torch.tensor([[3.0]])))


def test_a_row_does_not_depend_on_the_others_by_default():
    norm = NumericNorm(stats={"wide": WIDE, "narrow": NARROW})
    x = torch.rand(5, 2) * 9
    torch.testing.assert_close(norm(x)[2:3], norm(x[2:3]))


def test_row_weights_stand_for_candidates():
    norm, twin = (NumericNorm(stats={"wide": WIDE}, outer="batch", inner="batch") for _ in range(2))
    twin.load_state_dict(norm.state_dict())
    x, repeats = torch.tensor([[1.0], [8.0]]), torch.tensor([3, 2])
    ours = norm(x, repeats.float()).repeat_interleave(repeats, 0)
    torch.testing.assert_close(ours, twin(x.repeat_interleave(repeats, 0)))


def test_statistics_are_in_the_checkpoint():
    state = NumericNorm(stats={"wide": WIDE}).state_dict()
    assert state["maximum"].tolist() == [9.0]
    other = NumericNorm(stats={"wide": NARROW})
    other.load_state_dict(state)
    assert other.mean.tolist() == [3.0]


@pytest.mark.parametrize("scale", [10.0**n for n in range(-30, 31, 6)])
def test_numeric_norm__a_feature_of_any_scale_is_kept(scale):
    # raw x / 3 and standardised (x - 2) / 1 do not depend on the unit; their parts are 1/3 each.
    stats = NumericStats(minimum=scale, maximum=3 * scale, mean=2 * scale, std=scale)
    norm = NumericNorm(stats={"rate": stats, "constant": CONSTANT})
    assert norm.kept == ["rate"]
    with torch.no_grad():
        norm.mixture_weight.zero_()
    x = torch.tensor([[1.0, 4.0], [3.0, 4.0]]) * scale
    out = norm(x).flatten()
    log = norm._log(x[:, :1]).flatten()
    torch.testing.assert_close(out - log / 3, torch.tensor([(1 / 3 - 1) / 3, (1 + 1) / 3]))


def test_only_constants():
    norm = NumericNorm(stats={"constant": CONSTANT})
    assert norm(torch.zeros(3, 1)).shape == (3, 0)


@pytest.mark.parametrize(
    ("stats", "options", "message"),
    [
        (WIDE, {"inner": "group"}, "inner is 'group'; allowed are none, batch, layer"),
        (WIDE, {"outer": "layer"}, "outer is 'layer'; allowed are row, batch"),
        (NumericStats(minimum=1.0, maximum=0.0, mean=0.0, std=1.0), {}, "statistics of 'f' cannot be"),
        (
            NumericStats(minimum=0.0, maximum=1.0, mean=math.nan, std=1.0),
            {},
            "statistics of 'f' are not finite",
        ),
    ],
)
def test_errors_name_the_thing(stats, options, message):
    with pytest.raises(ValueError, match=message):
        NumericNorm(stats={"f": stats}, **options)


def test_clip__gradient_on_the_bounds_is_one_under_every_torch():
    """torch.clamp gives 1 there up to 2.13, and 1/2 from 2.14 on."""
    x = torch.tensor([[-2.0, 0.0], [-1.0, 3.0], [1.0, 9.0], [1.5, 9.5]], requires_grad=True)
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 9.0])
    out = clip(x, low, high)
    assert out.tolist() == [[-1.0, 0.0], [-1.0, 3.0], [1.0, 9.0], [1.0, 9.0]]
    # 1 within and on the bounds, 0 outside; times the cotangent 2.
    (2 * out).sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0], [2.0, 2.0], [2.0, 2.0], [0.0, 0.0]]


def test_numeric_norm__gradient_of_a_count_on_its_lower_bound():
    # log form of [0, 9]: ln(1 + x) / ln 10, so its slope at x = 0 is 1 / ln 10.
    x = torch.zeros(1, 1, requires_grad=True)
    NumericNorm(stats={"wide": WIDE}, mixture=False)(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[1 / math.log(10)]]))

import pytest
import torch
from torch import nn

from interactrank.modules import MLP, DCNv2, FeatureConcat, Tower, mask_net_tower


def test_every_head_is_a_unit_vector_whatever_the_batch():
    tower = mask_net_tower(in_dim=9, heads=3, dim=4, block_dim=16, hidden_dims=[8])
    x = torch.randn(5, 9) * 100
    out = tower(x)
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(5, 3))
    torch.testing.assert_close(tower(x[2:3]), out[2:3])


def test_another_crossing_fits():
    tower = Tower(
        crossing=DCNv2(in_dim=6, layers=1), mlp=MLP(in_dim=6, hidden_dims=[], out_dim=8), heads=2, dim=4
    )
    assert tower(torch.randn(3, 6)).shape == (3, 2, 4)


def test_the_residual_adds_a_linear_map_of_the_input_before_the_norm():
    parts = {"crossing": DCNv2(in_dim=6, layers=1), "mlp": MLP(in_dim=6, hidden_dims=[4], out_dim=8)}
    tower = Tower(**parts, heads=2, dim=4, residual=True)
    x = torch.randn(3, 6)
    hidden = tower.mlp(tower.crossing(tower.norm(x))) + x @ tower.residual.weight.t()
    expected = torch.nn.functional.normalize(hidden.view(3, 2, 4), dim=-1)
    torch.testing.assert_close(tower(x), expected)
    assert Tower(**parts, heads=2, dim=4).residual is None


def test_concat_goes_by_name_and_promotes():
    concat = FeatureConcat(dims={"z": 1, "a": 2, "M": 1})
    features = {"a": torch.tensor([[1, 2]]), "z": torch.tensor([True]), "M": torch.tensor([0.5])}
    assert concat(features).tolist() == [[1.0, 1.0, 2.0, 0.5]]  # as in dims
    assert concat.out_dim == 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: FeatureConcat(dims={"a": 1})({"b": torch.zeros(1)}),
            KeyError,
            r"absent .*'a'.*unknown .*'b'",
        ),
        (lambda: FeatureConcat(dims={"a": 2})({"a": torch.zeros(3)}), ValueError, "feature 'a' has shape"),
        (lambda: FeatureConcat(dims={"a": 0}), ValueError, "a is 0"),
        (
            lambda: Tower(
                crossing=DCNv2(in_dim=6), mlp=MLP(in_dim=5, hidden_dims=[], out_dim=8), heads=2, dim=4
            ),
            ValueError,
            "mlp.in_dim is 5, but the crossing gives 6",
        ),
        (
            lambda: Tower(
                crossing=DCNv2(in_dim=6), mlp=MLP(in_dim=6, hidden_dims=[], out_dim=8), heads=3, dim=4
            ),
            ValueError,
            "3 heads of 4 need 12",
        ),
        (
            lambda: Tower(crossing=nn.Linear(2, 2), mlp=nn.Identity(), heads=1, dim=4),
            ValueError,
            "crossing: Linear needs the attributes in_dim and out_dim",
        ),
    ],
)
def test_errors_name_the_thing(make, error, message):
    with pytest.raises(error, match=message):
        make()

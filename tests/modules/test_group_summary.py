import pytest
import torch

from interactrank.modules import GroupSummary


def test_two_layers_with_leaky_relu_by_hand():
    summary = GroupSummary(groups={"g": ["a", "b"]}, dims={"a": 1, "b": 1}, out_dims={"g": 1})
    first, _, second, _ = summary.layers["f_g"]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -2.0]]))
        second.weight.fill_(-3.0)
    out = summary({"a": torch.tensor([[1.0]]), "b": torch.tensor([[3.0]])})
    # 1 - 6 = -5 -> -1; times -3 = 3 -> 3
    torch.testing.assert_close(out["g"], torch.tensor([[3.0]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": {"g": []}, "dims": {}, "out_dims": {}}, "group 'g' has no member"),
        ({"groups": {"g": ["a", "b"]}, "dims": {"a": 1, "b": 1}, "out_dims": {}}, "group 'g' has no out_dim"),
        (
            {"groups": {"g": ["a", "b"]}, "dims": {"a": 1}, "out_dims": {"g": 2}},
            "'b' of group 'g' has no entry",
        ),
        ({"groups": {"g": ["a"], "h": ["a"]}, "dims": {}, "out_dims": {}}, "'a' is in two groups"),
    ],
)
def test_errors_name_the_thing(options, message):
    with pytest.raises(ValueError, match=message):
        GroupSummary(**options)


def test_an_absent_member_is_named():
    with pytest.raises(KeyError, match="no feature 'a'"):
        GroupSummary(groups={"g": ["a"]}, dims={}, out_dims={})({"b": torch.zeros(1, 1)})

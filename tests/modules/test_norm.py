import pytest
import torch

from interactrank.modules import DenseVectorNorm, normalize_heads
from interactrank.modules.norm import module_key


def test_heads_are_normalised_apart():
    out = normalize_heads(torch.tensor([[3.0, 4.0, 0.0, 0.0]]), heads=2)
    torch.testing.assert_close(out, torch.tensor([[[0.6, 0.8], [0.0, 0.0]]]))


def test_a_zero_vector_has_a_finite_gradient():
    x = torch.zeros(1, 4, requires_grad=True)
    normalize_heads(x, heads=2).sum().backward()
    assert x.grad.isfinite().all()


def test_unit_vectors_are_float32_under_autocast():
    assert normalize_heads(torch.ones(1, 4, dtype=torch.bfloat16), heads=1).dtype == torch.float32


def test_heads_must_divide_the_columns():
    with pytest.raises(ValueError, match="5 columns cannot be split into 2 heads"):
        normalize_heads(torch.zeros(1, 5), heads=2)


def test_names_that_differ_only_in_a_dot_have_norms_of_their_own():
    norm = DenseVectorNorm(dims={"a.b": 2, "a_b": 2, "items": 2})
    assert len(list(norm.parameters())) == 6
    assert module_key("a%2Eb") != module_key("a.b")


def test_integers_and_other_features():
    norm = DenseVectorNorm(dims={"ids": 2})
    x = {"other": torch.tensor([5]), "ids": torch.tensor([[0, 2]])}
    out = norm(x)
    torch.testing.assert_close(out["ids"], torch.tensor([[-1.0, 1.0]]), atol=1e-4, rtol=0)
    assert list(out) == ["other", "ids"]
    assert out["other"] is x["other"]


def test_an_absent_feature_is_named():
    with pytest.raises(KeyError, match="no feature 'image'; given: text"):
        DenseVectorNorm(dims={"image": 2})({"text": torch.zeros(1, 2)})

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules import CountSmoothing
from interactrank.modules.count_smoothing import TRANSFORMS


def test_each_transform_by_hand():
    # rate 0.25 of 8 engagements: count 2. Prior 0.1 with k = 2: (2 + 0.2) / (8 + 2) = 0.22.
    transform = CountSmoothing(features=1, transforms=TRANSFORMS, prior_strength=2.0, uniform_prior=0.1)
    out = transform(torch.tensor([[0.25]]), torch.tensor([[8.0]]))
    expected = [0.25, math.log(3), 0.22, math.log(0.22)]
    torch.testing.assert_close(out, torch.tensor([expected]))


def test_without_history_the_prior_remains():
    transform = CountSmoothing(features=1, transforms=["smoothed"])
    prior = torch.tensor([[0.03], [0.5]])
    out = transform(torch.zeros(2, 1), torch.zeros(2, 1), prior)
    torch.testing.assert_close(out, prior)
    assert transform.missing(torch.tensor([[0.0], [1.0]])).tolist() == [[True], [False]]


def test_names_and_order():
    transform = CountSmoothing(features=2, transforms=["rate", "log_count"])
    assert transform.names(["a", "b"]) == ["a:rate", "b:rate", "a:log_count", "b:log_count"]
    out = transform(torch.tensor([[0.5, 1.0]]), torch.tensor([[2.0, 4.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.5, 1.0, math.log(2), math.log(5)]]))


@settings(deadline=None, max_examples=50)
@given(
    support=st.integers(1, 10**6),
    share=st.floats(0, 1),
    strength=st.floats(1e-3, 1e4),
    prior=st.floats(1e-6, 0.9),
)
def test_every_transform_rises_with_the_count(support, share, strength, prior):
    count = int(share * (support - 1))
    transform = CountSmoothing(
        features=1, transforms=TRANSFORMS, prior_strength=strength, uniform_prior=prior
    )
    rates = torch.tensor([[count / support], [(count + 1) / support]])
    low, high = transform(rates, torch.full((2, 1), float(support)))
    assert (high >= low).all()
    assert support > 10**4 or (high > low).all()  # beyond, steps drown in float32


def test_prior_strength_is_learned_and_stays_positive():
    transform = CountSmoothing(features=1, prior_strength=5.0)
    transform(torch.tensor([[0.5]]), torch.tensor([[4.0]])).sum().backward()
    assert transform.log_strength.grad.abs().item() > 0
    assert transform.log_strength.exp().item() == pytest.approx(5.0)
    assert CountSmoothing(features=1, transforms=["rate"]).log_strength is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transforms": ["sqrt"]}, "no transform 'sqrt'; there are rate"),
        ({"transforms": []}, "transforms is 0"),
        ({"prior_strength": 0.0}, "prior_strength is 0.0"),
        ({"uniform_prior": 1.0}, "uniform_prior is 1.0"),
    ],
)
def test_errors_name_the_thing(options, message):
    with pytest.raises(ValueError, match=message):
        CountSmoothing(features=1, **options)

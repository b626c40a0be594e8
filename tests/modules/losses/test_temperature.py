import math

import pytest
import torch

from interactrank.modules import Temperature


def test_bounds_hold_on_both_sides_and_the_gradient_comes_back():
    for start, bound in ((50.0, 0.1), (-50.0, 2.0)):
        temperature = Temperature(lowest=0.1, highest=2.0)
        with torch.no_grad():
            temperature.log_scale.fill_(start)
        scale = temperature()
        assert scale.item() == pytest.approx(1 / bound)
        scale.backward()
        assert temperature.log_scale.grad.item() == pytest.approx(1 / bound)  # not stuck outside
        assert temperature.log_scale.item() == pytest.approx(-math.log(bound))


def test_evaluation_changes_nothing():
    temperature = Temperature(lowest=0.1).eval()
    with torch.no_grad():
        temperature.log_scale.fill_(50.0)
    assert temperature().item() == pytest.approx(10.0)
    assert temperature.log_scale.item() == 50.0


def test_fixed():
    assert list(Temperature(initial=0.5, learned=False).parameters()) == []
    with pytest.raises(ValueError, match="need 0 < lowest <= initial <= highest"):
        Temperature(initial=0.001)

import numpy as np
import pytest
import torch

from interactrank.evaluation.arrays import as_array, as_floats, as_integers, request_index


def test_bfloat16_and_grad_tensors_are_accepted():
    tensor = torch.tensor([1.5, 2.0], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(tensor, "scores").tolist() == [1.5, 2.0]


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"scores has shape \[2, 1\]; one dimension is needed"):
        as_array(np.zeros((2, 1)), "scores")


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, float("nan")], {}, r"x\[1\] is nan"),
        ([1.0, -float("inf")], {"finite": True}, r"x\[1\] is -inf; only finite"),
        ([1.0, -0.5], {"minimum": 0.0}, r"x\[1\] is -0.5; at least 0.0"),
    ],
)
def test_bad_floats_are_named_with_their_position(values, options, message):
    with pytest.raises(ValueError, match=message):
        as_floats(values, "x", **options)


def test_integers_out_of_range_and_of_another_type():
    with pytest.raises(ValueError, match=r"x\[0\] is -1; allowed are 0\.\.4"):
        as_integers([-1, 5], "x", below=5)
    with pytest.raises(TypeError, match="x has dtype float64; integers are needed"):
        as_integers([0.5], "x")
    assert as_integers([], "x").dtype == np.int64


def test_lengths_that_do_not_sum_to_the_candidates():
    with pytest.raises(ValueError, match="candidate_lengths sum to 3 but scores has 4 entries"):
        request_index([1, 2], 4)

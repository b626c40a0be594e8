"""Normalised entropy and calibration, with torchrec and scikit-learn as referees."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchrec.metrics.calibration import compute_calibration
from torchrec.metrics.ne import compute_cross_entropy, compute_ne

from interactrank.evaluation.metrics import calibration_ratio, normalized_entropy


def rows(count=500, seed=0):
    generator = np.random.default_rng(seed)
    probability, weight = generator.random(count), generator.random(count)
    return probability, (generator.random(count) < probability**2).astype(float), weight


def test_normalized_entropy__by_hand():
    # -(ln .8 + ln .6) over 2 ln 2: labels 1 and 0, base rate 1/2.
    expected = -(np.log(0.8) + np.log(0.6)) / (2 * np.log(2))
    assert normalized_entropy([0.8, 0.4], [1, 0]) == pytest.approx(expected)
    # Weight 3 on the positive: base rate 3/4.
    base = -(3 * np.log(0.75) + np.log(0.25))
    expected = -(3 * np.log(0.8) + np.log(0.6)) / base
    assert normalized_entropy([0.8, 0.4], [1, 0], [3, 1]) == pytest.approx(expected)


def test_calibration__by_hand():
    # (3 * .8 + 1 * .4) / 3
    assert calibration_ratio([0.8, 0.4], [1, 0], [3, 1]) == pytest.approx(2.8 / 3)


def test_normalized_entropy__equals_torchrec_and_scikit_learn():
    p, y, w = rows()
    positive, total = torch.tensor((w * y).sum()), torch.tensor(w.sum())
    tensors = [torch.from_numpy(x) for x in (y, p, w)]
    entropy = compute_cross_entropy(*tensors, eta=1e-12).sum()
    expected = compute_ne(entropy, total, positive, total - positive, eta=1e-12)
    assert normalized_entropy(p, y, w) == pytest.approx(float(expected), rel=1e-12)
    base = np.full(len(y), (w * y).sum() / w.sum())
    by_sklearn = log_loss(y, p, sample_weight=w) / log_loss(y, base, sample_weight=w)
    assert normalized_entropy(p, y, w) == pytest.approx(by_sklearn, rel=1e-12)


def test_calibration__equals_torchrec():
    p, y, w = rows(seed=1)
    expected = compute_calibration(torch.tensor((w * p).sum()), torch.tensor((w * y).sum()))
    assert calibration_ratio(p, y, w) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class__has_no_normalised_entropy(label):
    assert np.isnan(normalized_entropy([0.25] * 8, [label] * 8))
    assert calibration_ratio([0.25] * 8, [label] * 8) == pytest.approx(
        0.25 if label else float("nan"), nan_ok=True
    )


def test_no_row__is_nan():
    assert np.isnan([normalized_entropy([], []), calibration_ratio([], [])]).all()
    assert np.isnan(normalized_entropy([0.5, 0.5], [1, 0], [1, 0]))  # no weight on a negative


def test_certain_predictions__stay_finite():
    # ln(1e-12) = -27.6 for the positive that was certain to be none.
    assert normalized_entropy([0.0, 1.0, 0.0], [1, 1, 0]) == pytest.approx(
        -np.log(1e-12) / (3 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))), rel=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.5], [1]), r"probabilities\[0\] is 1.5; at most 1 is allowed"),
        (([-0.5], [1]), r"probabilities\[0\] is -0.5; at least 0.0"),
        (([np.nan], [1]), r"probabilities\[0\] is nan"),
        (([0.5], [2]), r"labels\[0\] is 2; only 0 and 1"),
        (([0.5, 0.5], [1]), "2 probabilities, 1 labels and 2 weights"),
        (([0.5], [1], [-1]), r"weights\[0\] is -1.0"),
    ],
)
def test_bad_input__is_named(arguments, message):
    for metric in (normalized_entropy, calibration_ratio):
        with pytest.raises(ValueError, match=message):
            metric(*arguments)

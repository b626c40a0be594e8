import numpy as np
import pytest
import torch
import torch.distributed as dist

from interactrank.evaluation.calibration import CalibrationMeter
from tests.ranks import run_ranks

HEADS = ["click", "long-click"]


def rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    predictions, weights = torch.rand(2, count, 2, generator=generator)
    labels = (torch.rand(count, 2, generator=generator) < predictions**2).float()
    return predictions, labels, weights


def by_formula(predictions, labels, weights):
    """The definitions, written out for one head."""
    p, y, w = (np.asarray(x, dtype=np.float64) for x in (predictions, labels, weights))
    base = (w * y).sum() / w.sum()

    def entropy(q):
        return -(w * (y * np.log(q) + (1 - y) * np.log(1 - q))).sum()

    return {"ne": entropy(p) / entropy(base), "calibration": (w * p).sum() / (w * y).sum(), "ctr": base}


def meter_of(cuts, data):
    meter = CalibrationMeter(heads=HEADS)
    for start, end in cuts:
        meter.update(*(tensor[start:end] for tensor in data))
    return meter


def compute_on_ranks():
    rank = dist.get_rank()
    data = rows(100)
    uneven = meter_of([[(0, 10), (10, 73)], [(73, 100)]][rank], data).compute()
    one_empty = meter_of([[(0, 100)], [(0, 0)]][rank], data)
    first = one_empty.compute()
    if rank == 0:  # only one rank has news
        one_empty.update(*data)
    return uneven, first, one_empty.compute()


def test_equals_the_definitions():
    data = rows(500)
    result = meter_of([(0, 1), (1, 300), (300, 300), (300, 500)], data).compute()
    assert list(result) == HEADS
    for head, name in enumerate(HEADS):
        assert result[name] == pytest.approx(by_formula(*(tensor[:, head] for tensor in data)))


def test_weights_default_to_one():
    predictions, labels, _ = rows(50)
    meter = CalibrationMeter(heads=HEADS)
    meter.update(predictions, labels)
    expected = by_formula(predictions[:, 0], labels[:, 0], torch.ones(50))
    assert meter.compute()["click"] == pytest.approx(expected)


def test_two_ranks_with_uneven_rows_equal_one_process():
    data = rows(100)
    one = meter_of([(0, 100)], data).compute()
    for uneven, one_empty, twice in run_ranks(2, compute_on_ranks):
        for result in (uneven, one_empty, twice):  # the same rows twice change no ratio
            for head in HEADS:
                assert result[head] == pytest.approx(one[head], rel=1e-12)


@pytest.mark.parametrize(("label", "calibration", "ctr"), [(0.0, float("nan"), 0.0), (1.0, 0.25, 1.0)])
def test_labels_of_one_kind_have_no_normalised_entropy(label, calibration, ctr):
    meter = CalibrationMeter(heads=["click"])
    meter.update(torch.full((8, 1), 0.25), torch.full((8, 1), label))
    result = meter.compute()["click"]
    assert np.isnan(result["ne"])
    assert result["calibration"] == pytest.approx(calibration, nan_ok=True)
    assert result["ctr"] == ctr


def test_nothing_seen():
    result = CalibrationMeter(heads=["click"]).compute()["click"]
    assert np.isnan([result["ne"], result["calibration"]]).all()


def test_certain_predictions_stay_finite():
    meter = CalibrationMeter(heads=["click"])
    meter.update(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]))
    meter.update(torch.tensor([[0.0]]), torch.tensor([[0.0]]))
    assert np.isfinite(meter.compute()["click"]["ne"])


def test_what_is_refused():
    meter = CalibrationMeter(heads=HEADS)
    with pytest.raises(
        ValueError, match=r"predictions of head 'long-click', row 1, is 1.5; allowed are 0\.\.1"
    ):
        meter.update(torch.tensor([[0.5, 0.5], [0.5, 1.5]]), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="labels of head 'click', row 0, is nan"):
        meter.update(torch.zeros(1, 2), torch.full((1, 2), float("nan")))
    with pytest.raises(ValueError, match=r"weights of head 'click', row 0, is -1\.0"):
        meter.update(torch.zeros(1, 2), torch.zeros(1, 2), torch.full((1, 2), -1.0))
    with pytest.raises(ValueError, match=r"predictions has shape \[3\]; \[3, 2\] is needed"):
        meter.update(torch.zeros(3), torch.zeros(3))
    for heads in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="name at least one, each once"):
            CalibrationMeter(heads=heads)

"""The model on a GPU: its scores, losses and gradients are those of the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers import ModelScorer
from tests.models import search

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")


def test_scores_losses_and_gradients(log: PreparedDataset) -> None:
    batch, model = search.batch(log), search.model(log)
    on_gpu = copy.deepcopy(model).to(CUDA)
    expected, outputs = model(batch)
    # A batch of its own: TorchRec's `to` keeps the tensors of the CPU that a first look-up has split up.
    found, of_gpu = on_gpu(search.batch(log).to(CUDA))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    assert of_gpu.keys() == outputs.keys()
    for name, value in outputs.items():
        torch.testing.assert_close(of_gpu[name].cpu(), value, rtol=1e-4, atol=1e-5, msg=name)
    expected.backward()
    found.backward()
    pairs = zip(model.named_parameters(), on_gpu.parameters(), strict=True)
    for (name, ours), of_gpu_ in pairs:
        assert (ours.grad is None) == (of_gpu_.grad is None), name
        if ours.grad is not None and of_gpu_.grad is not None:
            torch.testing.assert_close(of_gpu_.grad.cpu(), ours.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("candidates", ["logged", "catalogue"])
def test_the_scores_of_an_evaluation(log: PreparedDataset, candidates: str) -> None:
    model, requests = search.model(log), search.requests(log, "test")
    of = requests.positions("candidates") if candidates == "logged" else None
    expected = ModelScorer(model, log, 0, torch.device("cpu"))(requests, of)
    found = ModelScorer(copy.deepcopy(model).to(CUDA), log, 0, CUDA)(requests, of)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

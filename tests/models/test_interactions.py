"""Models in which query and item meet earlier than in a dot product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from interactrank.batch import CrossFeatureTensors
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.models import InteractRank, ModelSettings, build_model, early_interaction
from interactrank.models.late_interaction import LateInteractionHead
from tests.models import search

NAMES = ["early_interaction", "late_interaction"]
HIDDEN = {"cross_features": {"hidden_dims": [4]}}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return search.prepared(tmp_path_factory.mktemp("log"))


def built(name: str, log: PreparedDataset, **changes: Any) -> InteractRank:
    """A model whose every weight is away from its first value."""
    torch.manual_seed(0)
    settings = parse_config(ModelSettings, {**search.SMALL, **changes})
    model = build_model(name, layout=log.layout, settings=settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def whole(cross: CrossFeatureTensors, requests: int, items: int) -> CrossFeatureTensors:
    """The same cross features for every pair of a request and an item."""
    rate, number, counts = (
        x[: requests * items].reshape(requests, items, -1) for x in (cross.rate, cross.number, cross.counts)
    )
    return CrossFeatureTensors(rate, cross.support[:requests], number, counts)


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_is_scored_as_pairs_are(
    name: str, log: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items come in pieces, here of two; a single request is scored as it is among others."""
    monkeypatch.setattr(early_interaction, "BLOCK", 2)
    model, batch = built(name, log, **HIDDEN), search.batch(log, rows=40)
    with torch.no_grad():
        query, item = model.encode_requests(batch)[:3], model.encode_items(batch)[:5]
        request, column = (
            x.reshape(-1) for x in torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
        )
        cross = whole(batch.cross, 3, 5)
        flat = CrossFeatureTensors(
            cross.rate.flatten(0, 1), cross.support, cross.number.flatten(0, 1), cross.counts.flatten(0, 1)
        )
        pairs = model.score_head(query, item, request, column, flat)
        found = model.score_head.catalogue(query, item, cross)
        support = cross.support[2:]
        one = CrossFeatureTensors(cross.rate[2], support, cross.number[2], cross.counts[2])
        alone = model.score_head(query[2:], item, torch.zeros(5, dtype=torch.long), torch.arange(5), one)
    torch.testing.assert_close(found, pairs.view(3, 5, -1))
    torch.testing.assert_close(found[2], alone)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str, log: PreparedDataset) -> None:
    model, batch = built(name, log, **HIDDEN).train(), search.batch(log, rows=40)
    loss, _ = model(batch)
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.abs().sum() > 0 for n, p in model.score_head.named_parameters() if "bias" not in n)


def test_early_interaction__begins_without_its_network(log: PreparedDataset) -> None:
    torch.manual_seed(1)
    settings = parse_config(ModelSettings, search.SMALL)
    early = build_model("early_interaction", layout=log.layout, settings=settings).eval()
    torch.manual_seed(1)
    plain = build_model("interactrank", layout=log.layout, settings=settings).eval()
    plain.load_state_dict(early.state_dict(), strict=False)
    batch = search.batch(log)
    with torch.no_grad():
        assert torch.equal(early.score(batch), plain.score(batch))


def test_early_interaction__its_network_is_bounded_as_a_dot_product_is(log: PreparedDataset) -> None:
    early, plain = built("early_interaction", log), built("interactrank", log)
    plain.load_state_dict(early.state_dict(), strict=False)
    batch, weight = search.batch(log), early.score_head.project.dot_weight().item()
    with torch.no_grad():
        early.score_head.out.weight.mul_(1e4)
        added = (early.score(batch) - plain.score(batch)).abs()
    torch.testing.assert_close(added, torch.full_like(added, weight), rtol=1e-3, atol=0)


def test_early_interaction__a_pair_is_more_than_a_dot_product(log: PreparedDataset) -> None:
    """Two candidates with one dot product and one history differ in their score."""
    model, batch = built("early_interaction", log), search.batch(log)
    query = torch.zeros(1, 2, 8)
    query[..., 0] = 1.0
    item = torch.zeros(2, 8)
    item[:, 0], item[0, 1], item[1, 2] = 0.6, 0.8, 0.8  # both 0.6 with the query
    rate, number, counts = (
        x[:1].expand(2, -1) for x in (batch.cross.rate, batch.cross.number, batch.cross.counts)
    )
    cross = CrossFeatureTensors(rate, batch.cross.support[:1], number, counts)
    with torch.no_grad():
        scores = model.score_head(query, item, torch.tensor([0, 0]), torch.tensor([0, 1]), cross)
    assert (scores[0] - scores[1]).abs().max() > 1e-3


def slow_matches(query: Tensor, item: Tensor, vectors: int) -> float:
    """The sum over pieces of the query of the best dot product with a piece of the item."""
    width = len(query) // vectors
    total = 0.0
    for k in range(vectors):
        q = query[k * width : (k + 1) * width]
        total += max(float(q @ item[j * width : (j + 1) * width]) for j in range(vectors))
    return total


def test_late_interaction__is_the_sum_of_best_matches(log: PreparedDataset) -> None:
    head = built("late_interaction", log).score_head
    assert isinstance(head, LateInteractionHead)
    torch.manual_seed(2)
    query, item = torch.randn(2, 2, 8), torch.randn(3, 8)
    request, column = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])
    expected = [
        [slow_matches(query[r, h], item[i], head.vectors) for h in range(2)]
        for r, i in zip(request.tolist(), column.tolist(), strict=True)
    ]
    torch.testing.assert_close(head.dots(query, item, request, column), torch.tensor(expected))
    torch.testing.assert_close(head.all_dots(query, item)[request, column], torch.tensor(expected))


def test_late_interaction__vectors_divide_the_width(log: PreparedDataset) -> None:
    with pytest.raises(ValueError, match=r"model.interaction.vectors is 3; it must divide model.dim, 8"):
        built("late_interaction", log, interaction={"vectors": 3})


def test_the_network_of_early_interaction_is_fitted_with_the_towers(log: PreparedDataset) -> None:
    """Requests of the projection reach neither it nor the towers; the others do not reach the projection."""
    model, batch = built("early_interaction", log, **HIDDEN).train(), search.batch(log, rows=40)
    network = ("score_head.hidden", "score_head.out", "score_head.norm")

    def gradients(fits_projection: bool) -> tuple[float, float, float]:
        """Sums of absolute gradients: of the network, of the rest of the score, of the towers."""
        model.zero_grad()
        apart = torch.full((batch.num_requests,), fits_projection)
        model(replace(batch, fits_projection=apart))[0].backward()
        sums = {"network": 0.0, "score": 0.0, "towers": 0.0}
        for name, p in model.named_parameters():
            if p.grad is not None and "temperature" not in name:
                of = "network" if name.startswith(network) else name.partition("_")[0]
                sums[of if of in sums else "towers"] += p.grad.abs().sum().item()
        return tuple(sums.values())

    of_network, of_score, of_towers = gradients(fits_projection=True)
    assert of_network == of_towers == 0 < of_score
    of_network, of_score, of_towers = gradients(fits_projection=False)
    assert of_score == 0 < min(of_network, of_towers)

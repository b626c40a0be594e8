import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactrank.modules import CountSmoothing, CrossInteraction, PositiveWeight


def test_affine_projection_by_hand():
    # Shared: w = 2, v = (0.5, -1), c = 0.25. Candidate: dots (0.3, -0.6), cross (0.2, 0.1).
    layer = CrossInteraction.from_projection(
        weight=torch.tensor([[0.5, -1.0, 2.0]]), bias=torch.tensor([0.25]), heads=2
    )
    scores = layer(torch.tensor([[0.3, -0.6]]), torch.tensor([[0.2, 0.1]]))
    # 0.6 + 0.1 - 0.1 + 0.25 = 0.85 and -1.2 + 0.25 = -0.95
    torch.testing.assert_close(scores, torch.tensor([[0.85, -0.95]]))


def test_a_projection_per_head():
    weight, bias = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.0, 10.0])
    layer = CrossInteraction.from_projection(weight=weight, bias=bias, heads=2)
    scores = layer(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0]]))
    torch.testing.assert_close(scores, torch.tensor([[1 + 1.0, 3 + 2.0 + 10]]))
    torch.testing.assert_close(layer.projection(), (weight, bias))


def test_learned_default_and_flag_stand_in_for_missing_history():
    layer = CrossInteraction(heads=1, features=2, initial_cross_weight=2.0)
    with torch.no_grad():
        layer.default.copy_(torch.tensor([0.1, 0.3]))
        layer.flag_weight.copy_(torch.tensor([[-1.0, 5.0]]))
    missing = torch.tensor([[True, False], [False, False]])
    scores = layer(torch.zeros(2, 1), torch.tensor([[9.0, 0.5], [9.0, 0.5]]), missing)
    # Missing: 2 * 0.1 + 2 * 0.5 - 1 = 0.2. Known: 2 * 9 + 2 * 0.5 = 19.
    torch.testing.assert_close(scores, torch.tensor([[0.2], [19.0]]))


def test_average_imputation_of_the_batch_while_training_and_of_past_batches_after():
    layer = CrossInteraction(heads=1, features=1, missing="average")
    cross = torch.tensor([[0.0], [0.6], [0.0], [0.2]])
    before = cross.clone()
    scores = layer(torch.zeros(4, 1), cross)  # mean with zeros: 0.8 / 4 = 0.2
    torch.testing.assert_close(scores.flatten(), torch.tensor([0.2, 0.6, 0.2, 0.2]))
    assert torch.equal(cross, before)
    layer.eval()
    alone = layer(torch.zeros(1, 1), torch.zeros(1, 1))
    torch.testing.assert_close(alone, torch.tensor([[0.2]]))  # not 0, the mean of this batch of one


def test_an_empty_batch_leaves_the_running_mean():
    layer = CrossInteraction(heads=1, features=1, missing="average")
    layer(torch.zeros(1, 1), torch.tensor([[0.4]]), torch.tensor([[False]]))
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(torch.zeros(0, 1), torch.zeros(0, 1))
    torch.testing.assert_close(layer.state_dict(), state)


def test_one_candidate_and_no_feature_keep_their_shapes():
    assert CrossInteraction(heads=3, features=0)(torch.zeros(1, 3), torch.zeros(1, 0)).shape == (1, 3)


@settings(deadline=None, max_examples=50)
@given(
    log_weight=st.floats(-20, 5),
    dot=st.floats(-1, 1),
    step=st.floats(0.01, 1),
    cross=st.floats(-10, 10),
    shared=st.booleans(),
)
def test_scores_rise_with_the_dot_at_fixed_history(log_weight, dot, step, cross, shared):
    layer = CrossInteraction(heads=2, features=1, shared=shared)
    with torch.no_grad():
        layer.dot_weight.log_weight.fill_(log_weight)
    low, high = torch.full((1, 2), dot), torch.full((1, 2), dot + step)
    history = torch.full((1, 1), cross)
    weight = layer.dot_weight()
    assert (weight > 0).all()
    # e^-20 times 0.01 is lost next to 10 in float32; what must never happen is a fall.
    rise = layer(high, history) - layer(low, history)
    assert (rise >= 0).all()
    assert log_weight < -8 or (rise > 0).all()


def test_permuting_candidates_permutes_scores():
    layer = CrossInteraction(heads=2, features=3)
    dots, cross = torch.randn(7, 2), torch.randn(7, 3)
    order = torch.randperm(7)
    torch.testing.assert_close(layer(dots[order], cross[order]), layer(dots, cross)[order])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossInteraction(heads=0, features=1), "heads is 0"),
        (lambda: CrossInteraction(heads=1, features=-1), "features is -1"),
        (lambda: CrossInteraction(heads=1, features=1, missing="mean"), "allowed are learned, average, zero"),
        (lambda: PositiveWeight(size=1, initial=0.0), "must be above 0"),
        (
            lambda: CrossInteraction(heads=2, features=1)(torch.zeros(3, 1), torch.zeros(3, 1)),
            "dots has shape",
        ),
        (
            lambda: CrossInteraction(heads=1, features=2)(torch.zeros(3, 1), torch.zeros(3, 1)),
            "cross has shape",
        ),
    ],
)
def test_errors_name_the_thing(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_negative_dot_weight_is_refused():
    with pytest.raises(ValueError, match=r"weight of the dot product is \[-1.0\]; it must be positive"):
        CrossInteraction.from_projection(weight=torch.tensor([[1.0, -1.0]]), bias=torch.zeros(1), heads=1)
    with pytest.raises(ValueError, match="has 2 rows; it must have 1"):
        CrossInteraction.from_projection(weight=torch.ones(2, 2), bias=torch.zeros(2), heads=3)


def test_history_missing_feeds_the_layer():
    transform = CountSmoothing(features=2, transforms=["rate", "log_smoothed"])
    layer = CrossInteraction(heads=1, features=transform.out_dim)
    rate, support = torch.tensor([[0.1, 0.0]]), torch.tensor([[20.0, 0.0]])
    scores = layer(torch.zeros(1, 1), transform(rate, support), transform.missing(support))
    assert scores.isfinite().all()


@pytest.mark.parametrize("missing", ["learned", "average", "zero"])
@pytest.mark.parametrize("shared", [True, False])
def test_contributions__add_up_to_the_score(missing: str, shared: bool) -> None:
    torch.manual_seed(0)
    layer = CrossInteraction(heads=2, features=3, shared=shared, missing=missing).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    dots, cross = torch.randn(5, 2), torch.randn(5, 3)
    cross[0, 1] = 0.0
    unknown = None if missing == "average" else torch.rand(5, 3) < 0.5
    _, bias = layer.projection()
    parts = layer.contributions(cross, unknown)
    assert parts.shape == (5, 2, 3)
    total = parts.sum(-1) + layer.dot_weight() * dots + bias
    torch.testing.assert_close(total, layer(dots, cross, unknown))

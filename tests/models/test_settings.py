import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.models import ModelSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 0}, "dim: input should be greater than or equal to 1"),
        ({"sequence": {"pooling": False, "attention": False}}, "sequence: turn on pooling or attention"),
        (
            {"loss": {"pointwise_weight": 0, "listwise_weight": 0, "sampled_softmax_weight": 0}},
            "loss: every part of the loss has weight 0; there is nothing to learn from",
        ),
        ({"request_tower": {"crossing": "masknet"}}, "did you mean 'mask_net'?"),
        ({"use_sequenze": True}, "use_sequenze: unknown key; did you mean 'use_sequence'?"),
        ({"cross_features": {"transforms": []}}, "cross_features.transforms"),
        ({"cross_features": {"priors": {"iqp": 1}}}, "cross_features.priors.iqp"),
    ],
)
def test_each_mistake(values, message):
    with pytest.raises(ConfigError, match="1 problem") as error:
        parse_config(ModelSettings, values)
    assert message in str(error.value)


def test_the_two_tower_keeps_everything_else():
    settings = ModelSettings(dim=8, table_std=0.1, initial_dot_weight=7)
    plain = settings.two_tower()
    assert not any([plain.use_sequence, plain.use_cross_features])
    on = {"use_sequence": True, "use_cross_features": True}
    assert plain.model_copy(update=on) == settings

"""The search space of a model: its default, resolved and checked before anything is prepared."""

import pytest

from interactrank.core.search_space import Range
from interactrank.core.settings import ConfigError
from interactrank.experiments.tuning.space import Dimension, changes_of, search_space
from interactrank.models import MODELS
from tests.trained import config


def space(*overrides: str, model: str = "interactrank") -> dict[str, Dimension]:
    return {dim.key: dim for dim in search_space(config(*overrides), model)}


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_comes_with_a_space_that_takes_in_the_config_as_it_is(model: str) -> None:
    found = space(model=model)
    assert {"training.dense_optimizer.lr", "training.table_optimizer.lr", "training.epochs"} <= set(found)


def test_one_key_may_stand_for_several_settings() -> None:
    dropout = space()["model.*_tower.input_dropout"]
    assert dropout.places == (
        ("model", "request_tower", "input_dropout"), ("model", "item_tower", "input_dropout"),
    )  # fmt: skip
    assert list(changes_of([dropout], {dropout.key: 0.2}).values()) == [0.2, 0.2]


def test_a_default_range_takes_in_the_setting_as_it_is_and_a_declared_one_stays() -> None:
    far = "training.table_optimizer.lr=7"
    assert space(far)["training.table_optimizer.lr"].domain == Range(low=1e-3, high=7.0, log=True)
    assert space("model.dim=7")["model.dim"].domain == [7, 16, 32, 64]
    declared = "tuning.space={training.table_optimizer.lr: {low: 0.1, high: 1}}"
    assert space(far, declared)["training.table_optimizer.lr"].domain == Range(low=0.1, high=1)


def test_a_variant_has_the_space_of_interactrank() -> None:
    assert list(space("variants={wide: {model: {dim: 12}}}", model="wide")) == list(space())


@pytest.mark.parametrize(
    ("overrides", "model", "message"),
    [
        ([], "two_towr", "no model 'two_towr' to tune; did you mean 'two_tower'?"),
        ([], "bm25", "there is nothing to tune for bm25: its search space is empty; name settings in"),
        (["tuning.default_space=false"], "interactrank", "there is nothing to tune for interactrank"),
        (
            ["tuning.space={model.item_tower.dropout: {low: 0, high: 1}}"],
            "interactrank",
            "search space of interactrank: 1 values cannot be\n"
            "  - model.item_tower.dropout: input should be less than 1, found 1.0",
        ),
        (
            ["tuning.space={model.loss.pointwise: [bce, focl]}"],
            "interactrank",
            "model.loss.pointwise: input should be 'focal' or 'bce', found 'focl'; did you mean 'focal'?",
        ),
    ],
)
def test_each_mistake(overrides: list[str], model: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        space(*overrides, model=model)
    assert message in str(error.value)


def test_values_as_optuna_has_them() -> None:
    dims = Dimension("d", (("d",),), [[8], [16, 8], None, True], whole=False)
    for value in dims.domain:  # type: ignore[union-attr]
        assert dims.decode(dims.encode(value)) == value
    whole = Dimension("n", (("n",),), Range(low=1, high=8), whole=True)
    assert (whole.encode(8), whole.encode(9), whole.encode(True), whole.encode(None)) == (8, None, None, None)

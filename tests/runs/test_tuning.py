"""The section tuning: what a space is made of, and its mistakes."""

import pytest

from interactrank.core.overrides import apply_overrides
from interactrank.core.search_space import Domain, Range
from interactrank.core.settings import ConfigError, parse_config
from interactrank.runs.config import RunConfig
from interactrank.runs.tuning import TuningSettings
from tests.trained import VALUES, config

DEFAULT: dict[str, Domain] = {"training.epochs": Range(low=1, high=9), "model.dim": [8, 16]}


def test_domains__are_the_default_then_what_is_said_for_all_then_for_the_model() -> None:
    tuning = TuningSettings(
        space={"training.epochs": {"low": 1, "high": 3}, "loader.seed": [0, 1]},
        models={"two_tower": {"model.dim": None, "loader.seed": [2, 3]}},
    )
    assert tuning.domains("interactrank", DEFAULT) == {
        "model.dim": [8, 16], "training.epochs": Range(low=1, high=3), "loader.seed": [0, 1],
    }  # fmt: skip
    assert tuning.domains("two_tower", DEFAULT) == {
        "training.epochs": Range(low=1, high=3), "loader.seed": [2, 3],
    }  # fmt: skip
    alone = tuning.model_copy(update={"default_space": False})
    assert "model.dim" not in alone.domains("interactrank", DEFAULT)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tuning.space={training.lr: [1]}", "tuning.space.training.lr: unknown key 'lr'; "),
        ("tuning.space={model.dmi: [1]}", "tuning.space.model.dmi: unknown key 'dmi'; did you mean 'dim'?"),
        ("tuning.space={model: [1]}", "tuning.space.model: model is a section; name one of its settings: "),
        (
            "tuning.space={prepare.threads: [1, 2]}",
            "tuning.space.prepare.threads: all trials share one dataset and one way to judge: what may vary "
            "is loader, model, training",
        ),
        (
            "tuning.space={schema.tables.item.dim: [8, 16]}",
            "tuning.space.schema.tables.item.dim: all trials share one dataset",
        ),
        (
            "tuning.space={model.use_sequence: {low: 0, high: 1}}",
            "tuning.space.model.use_sequence: a range fits numbers alone; name the choices in a list",
        ),
        (
            "tuning.space={training.epochs: {low: 0.5, high: 2}}",
            "tuning.space.training.epochs: whole numbers are asked for, found 0.5 to 2",
        ),
        (
            "tuning.space={training.epochs: {low: 3, high: 2}}",
            "tuning: space.training.epochs: low 3 must be below high 2",
        ),
        (
            "tuning.space={training.epochs: 3}",
            "tuning: space.training.epochs: write {low: .., high: ..}, a list of choices, or null; found 3",
        ),
        ("tuning.models={two_towr: {}}", "tuning.models: no model 'two_towr'; did you mean 'two_tower'?"),
        (
            "tuning.models={two_tower: {model.dmi: [1]}}",
            "tuning.models.two_tower.model.dmi: unknown key 'dmi'; did you mean 'dim'?",
        ),
        ("tuning.trials=3", "tuning.trials: unknown key"),
    ],
)
def test_each_mistake_is_said_when_the_config_is_read(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(RunConfig, apply_overrides(VALUES, [override]))
    (line,) = str(error.value).split("\n")[1:]
    assert line.startswith(f"  - {expected}")


def test_a_config_with_a_space_is_saved_and_read_back() -> None:
    given = config("tuning.space={model.*_tower.dropout: {low: 0, high: 0.5}, model.dim: [8, 16]}")
    values = given.model_dump(mode="json", by_alias=True)
    assert parse_config(RunConfig, values) == given

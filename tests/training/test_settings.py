import math

import pytest

from interactrank.core.settings import ConfigError, parse_config
from interactrank.training.settings import LearningRateSchedule, TrainingSettings


def test_two_epochs_without_steps_or_epochs() -> None:
    assert TrainingSettings().total_steps(7) == 14
    assert TrainingSettings().most_epochs == 2
    assert TrainingSettings(steps=5).most_epochs is None


def test_the_first_limit_ends_the_run() -> None:
    assert TrainingSettings(steps=30).total_steps(7) == 30
    assert TrainingSettings(steps=30, epochs=3).total_steps(7) == 21
    assert TrainingSettings(steps=10, epochs=3).total_steps(7) == 10


def test_warm_up_ends_at_the_peak_and_the_schedule_at_final() -> None:
    schedule = LearningRateSchedule(decay="cosine", warmup_steps=4, min_lr_factor=0.1)
    assert [schedule.factor(s, 12) for s in (1, 2, 4)] == [0.25, 0.5, 1.0]
    # Half-way, (12 - 4) / 2 = 4 steps after the warm-up: 0.1 + 0.9 * (1 + cos(pi / 2)) / 2 = 0.55.
    assert math.isclose(schedule.factor(8, 12), 0.55)
    assert math.isclose(schedule.factor(12, 12), 0.1)
    assert math.isclose(schedule.factor(13, 12), 0.1)


def test_a_warm_up_longer_than_the_run_never_reaches_the_peak() -> None:
    assert LearningRateSchedule(decay="linear", warmup_steps=10).factor(5, 5) == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"table_optimizer": {"name": "sgd", "eps": 1e-8}}, "eps has no meaning for sgd"),
        ({"table_optimizer": {"betas": [0.9, 0.99]}}, "betas go with adam, not with row_wise_adagrad"),
        ({"dense_optimizer": {"betas": [0.9, 1.0]}}, "each must be at least 0 and below 1"),
        (
            {"table_optimizer": {"name": "adam", "betas": [2, 3]}},
            "table_optimizer: betas [2.0, 3.0]: each must be at least 0",
        ),
        (
            {"table_optimizer": {"lr": math.inf}},
            "table_optimizer.lr: input should be a finite number, found inf",
        ),
        (
            {"table_optimizer": {"eps": math.inf}},
            "table_optimizer.eps: input should be a finite number, found inf",
        ),
        (
            {"dense_optimizer": {"lr": math.inf}},
            "dense_optimizer.lr: input should be a finite number, found inf",
        ),
        (
            {"dense_optimizer": {"betas": [0.9, math.nan]}},
            "dense_optimizer.betas.1: input should be a finite number, found nan",
        ),
        ({"clip_norm": math.inf}, "clip_norm: input should be a finite number, found inf"),
        ({"schedule": {"min_lr_factor": 0.1}}, "min_lr_factor goes with decay cosine or linear"),
        (
            {"sharding": {"queries": {"types": ["data_parallel", "row_wise"], "kernels": ["fused"]}}},
            "data_parallel among the types needs dense; add it, or drop the type",
        ),
        ({"sharding": {"queries": {"types": ["rowwise"]}}}, "found 'rowwise'; did you mean 'row_wise'?"),
        ({"sharding": {"queries": {"kernels": ["fast"]}}}, "found 'fast'"),
        ({"sharding": {"queries": {"cache_load_factor": 0.5}}}, "goes with kernels: [fused_uvm_caching]"),
        (
            {"sharding": {"queries": {"types": ["row_wise"], "column_width": 8}}},
            "column_width goes with types of column_wise, grid_shard, table_column_wise",
        ),
        (
            {"table_optimizer": {"weight_decay": 0.1}},
            "tables have none, as FBGEMM's CPU kernels would silently ignore it",
        ),
        ({"checkpoint_evry": 3}, "checkpoint_evry: unknown key; did you mean 'checkpoint_every'?"),
        ({"steps": 0}, "steps"),
    ],
)
def test_a_setting_that_would_be_ignored_or_is_wrong_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(TrainingSettings, values)
    assert message in str(error.value)


def test_settings__mistakes_between_keys_are_told_at_once() -> None:
    values = {
        "steps": 5,
        "dense_optimizer": {"betas": [0.9, 1.0]},
        "schedule": {"warmup_steps": 5, "min_lr_factor": 0.1},
    }
    with pytest.raises(ConfigError) as error:
        parse_config(TrainingSettings, values)
    assert "3 problems" in str(error.value)
    assert "dense_optimizer: betas [0.9, 1.0]: each must be at least 0 and below 1" in str(error.value)
    assert "schedule: min_lr_factor goes with decay cosine or linear" in str(error.value)
    assert "schedule.warmup_steps: a warm-up of 5 steps is as long as the whole training of 5" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 2**32), ("timeout_s", 10**8), ("dense_optimizer", {"eps": 1e-40})],
    ids=["a seed that torch refuses", "a timeout that overflows", "an eps that float32 rounds to 0"],
)
def test_settings__values_that_would_fail_late_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        parse_config(TrainingSettings, {key: value})


def test_settings__what_may_change_on_resume_is_declared_on_the_field() -> None:
    free = {
        name
        for name, field in TrainingSettings.model_fields.items()
        if field.json_schema_extra == {"resume": "free"}
    }
    assert free == {
        *("device", "pipeline", "sharding", "timeout_s", "log_every", "validate_every", "tensorboard"),
        *("checkpoint_every", "checkpoint_async", "keep_last"),
    }

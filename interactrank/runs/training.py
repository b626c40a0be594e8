"""What each rank of a training does: open the dataset, build the model, train or resume it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError, near
from interactrank.data.errors import DatasetError
from interactrank.data.loading.loader import SearchLoader
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.distributed.collectives import run_on_rank0
from interactrank.distributed.world import current_world, process_group
from interactrank.evaluation.evaluator import evaluate, head_index
from interactrank.evaluation.metric_frame import frame_means
from interactrank.evaluation.metrics import headline, higher_is_better
from interactrank.evaluation.metrics.registry import columns
from interactrank.evaluation.scorers import ModelScorer
from interactrank.models import InteractRank, build_model
from interactrank.models.tables import collection_name, table_bytes
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import open_dataset
from interactrank.runs.going_on import checkpoint_to_go_on_from
from interactrank.runs.plan_inputs import measured_profile
from interactrank.runs.run_directory import RunSpec, open_or_resume
from interactrank.sharding.table_init import table_device
from interactrank.training.settings import TrainingSettings
from interactrank.training.trainer import Validate, train

__all__ = ["VALIDATION_REQUESTS", "collection_settings", "train_model", "validation"]

VALIDATION_REQUESTS = 2000  # of an evaluation while training, about


def train_model(
    config: RunConfig,
    data: Path,
    output: Path,
    *,
    model: str = "interactrank",
    plan: Path | None = None,
    start_from: Path | None = None,
) -> None:
    """Train one model on a dataset, or resume where an earlier start ended; every rank calls it.

    Args:
        config: the run's settings.
        data: directory of the dataset.
        output: run directory of the model.
        model: ``interactrank``, ``two_tower`` or one of the config's variants.
        plan: which rank holds what of each table, as ``interactrank plan`` writes it.
        start_from: run directory of a trained model of the same name and settings, on a dataset that this
            one has grown from; training goes on from its weights and its optimizers' state.

    Raises:
        ConfigError: the config has no such model.
        DatasetError: the dataset is not what the config needs.
        RunDirectoryError: ``output`` holds another training.
        TrainingError: the training cannot go on.
    """
    given, config = config, config.for_model(model)
    with process_group(config.training.device, config.training.timeout_s) as world:
        dataset = open_dataset(config, data)
        validate = validation(config, dataset, world.size)
        initial = None if start_from is None else checkpoint_to_go_on_from(start_from, model, config, dataset)
        spec = RunSpec.of(model, config, dataset, start_from)
        run_on_rank0("checking the run directory", lambda: open_or_resume(output, spec))
        torch.manual_seed(config.training.seed)
        device = table_device(config.training, table_bytes(dataset.layout), world)
        built = build_model(model, layout=dataset.layout, settings=config.model, table_device=device)
        loader = SearchLoader(
            dataset,
            "train",
            config.loader,
            rank=world.rank,
            world_size=world.size,
            only=built.score_head.reads,
            epochs=config.training.most_epochs or 1,
        )
        if world.is_main:
            atomic_write_text(output / "config.yaml", given.dump())
        demand = measured_profile(dataset, config.loader.negatives)
        train(
            built,
            loader,
            collection_settings(config.training),
            output,
            validate=validate,
            plan=plan,
            start_from=initial,
            loads=demand.loads(dataset.layout, config.loader.batch_requests),
        )


def collection_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return the settings with tables called as they are in the model's collections."""
    sharding = {collection_name(table): how for table, how in settings.sharding.items()}
    return settings.model_copy(update={"sharding": sharding})


def validation(config: RunConfig, dataset: PreparedDataset, ranks: int) -> Validate | None:
    """Return a function that measures a model on validation requests; None if the config asks for none.

    Raises:
        ConfigError: validations do not measure what early stopping looks at, or its mode is another.
        DatasetError: there is not one validation request a rank.
    """
    if config.training.validate_every is None:
        return None
    _check_early_stopping(config)
    settings = config.evaluation.model_copy(update={"split": "validation"})
    requests = dataset.num_requests("validation")
    if requests < ranks:
        raise DatasetError(
            f"training.validate_every needs validation requests, one a rank; '{dataset.folder}' has "
            f"{requests}; set prepare.split so that some requests validate, or training.validate_every to "
            "null"
        )
    head = head_index(dataset, settings)

    def validate(model: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(model, InteractRank)
        scorer = ModelScorer(model, dataset, head, current_world().device)
        frame = evaluate(scorer, dataset, settings, label=f"evaluate step {step}", limit=VALIDATION_REQUESTS)
        means = frame_means(frame, headline(frame))
        return {name: mean for name, (mean, _) in means.items()}

    return validate


def _check_early_stopping(config: RunConfig) -> None:
    stopping = config.training.early_stopping
    if stopping is None:
        return
    known = headline(columns(config.evaluation.ks))
    if stopping.metric not in known:
        raise ConfigError(
            f"training.early_stopping.metric: '{stopping.metric}' is not measured while training"
            f"{near(stopping.metric, known)}"
        )
    mode = "min" if higher_is_better(stopping.metric) is False else "max"
    if stopping.mode != mode:
        raise ConfigError(
            f"training.early_stopping.mode: {stopping.metric} is good when it is "
            f"{'large' if mode == 'max' else 'small'}; set {mode}, or leave it out"
        )

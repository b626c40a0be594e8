"""RunConfig: one YAML file a run, a section for each part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from interactrank.core.overrides import apply_overrides
from interactrank.core.search_space import nested
from interactrank.core.settings import Config, ConfigError, Name, near, parse_config
from interactrank.core.yaml_file import read_yaml
from interactrank.cross_features import features_of  # registers the kinds that the package brings
from interactrank.data.settings import LoaderSettings, PrepareSettings
from interactrank.data.simulator import SimulationSettings
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.evaluation.settings import EvaluationSettings
from interactrank.models import MODELS, ModelSettings
from interactrank.runs.plugins import import_plugins, plugin_names
from interactrank.runs.tuning import TuningSettings, space_problems
from interactrank.schema import SearchSchema
from interactrank.training.settings import TrainingSettings

DEFAULT = "interactrank"  # the model whose settings are the sections themselves
VARIED = ("loader", "model", "training")  # sections that a variant and a tuning may change


class RunConfig(Config):
    """Everything a run is made of: what the log means, how to prepare, train and evaluate.

    Saved with the models of a run as ``config.yaml``, with all defaults written out.
    """

    plugins: tuple[str, ...] = Field(
        (),
        description="modules of your own, imported first on every rank: they register cross features, "
        "metrics, baselines and models",
    )
    simulate: SimulationSettings | None = Field(
        None, description="make the log up; used where no --data is given"
    )
    search: SearchSchema = Field(alias="schema", description="what the columns of the log mean")
    prepare: PrepareSettings = Field(default_factory=lambda: PrepareSettings())
    loader: LoaderSettings = Field(default_factory=lambda: LoaderSettings())
    model: ModelSettings = Field(default_factory=lambda: ModelSettings())
    training: TrainingSettings = Field(default_factory=lambda: TrainingSettings())
    evaluation: EvaluationSettings = Field(default_factory=lambda: EvaluationSettings())
    tuning: TuningSettings = Field(default_factory=lambda: TuningSettings())
    variants: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="name -> sections (loader, model, training) with what is different from this config; the "
        "name of another model, such as two_tower, gives that model settings of its own",
    )
    models: tuple[str, ...] = Field(
        ("interactrank", "two_tower", "bm25"),
        min_length=1,
        description="models to train and compare: interactrank, two_tower, a variant; bm25, counts, ctr, "
        "touched, lambdamart; yours",
    )
    ranks: int = Field(2, ge=1, description="processes that `interactrank run` trains with on this machine")

    def problems(self) -> list[str]:
        """Return what sections ask of each other and do not get."""
        return [
            *self._candidate_problems(),
            *self._model_problems(),
            *self._variant_problems(),
            *self._evaluation_problems(),
            *self._tuning_problems(),
        ]

    @property
    def trained(self) -> list[str]:
        """The models that are trained, in order."""
        return [name for name in self.models if name not in BASELINES]

    def for_model(self, name: str) -> RunConfig:
        """Return the config that the model of that name is trained with.

        Args:
            name: ``interactrank`` (this config), another registered model, or one of ``variants``.

        Raises:
            ConfigError: there is no such model, or the variant asks for what cannot be.
        """
        if name not in MODELS and name not in self.variants:
            raise ConfigError(f"no model '{name}' to train{near(name, [*MODELS, *self.variants])}")
        config = self
        if name in self.variants:
            values = self.model_dump(mode="json", by_alias=True) | {"variants": {}, "models": [DEFAULT]}
            config = parse_config(RunConfig, merged(values, self.variants[name]), f"variants.{name}")
        family = MODELS.get(name)
        return (
            config if family is None else config.model_copy(update={"model": family.settings(config.model)})
        )

    def with_settings(self, model: str, changes: Mapping[tuple[str, ...], Any]) -> RunConfig:
        """Return the config with other settings for one model; the other models stay as they are.

        The settings of ``interactrank`` are the sections themselves, those of another model are its entry of
        ``variants``.

        Args:
            model: one of :attr:`models`, or a name of ``variants``.
            changes: place -> value, such as ``("training", "epochs")``.

        Raises:
            ConfigError: the settings do not go together.
        """
        values = self.model_dump(mode="json", by_alias=True)
        for place, value in changes.items():
            own = model != DEFAULT and place[0] in VARIED
            values = merged(values, nested(("variants", model, *place) if own else place, value))
        return parse_config(RunConfig, values, f"settings of {model}")

    def _candidate_problems(self) -> list[str]:
        found = []
        if self.search.features.candidate and self.loader.negatives:
            found.append(
                "loader.negatives: drawn items have no candidate features, which gives them away; set it "
                "to 0, or leave out schema.features.candidate"
            )
        if self.search.features.candidate and self.evaluation.candidates == "catalogue":
            found.append(
                "evaluation.candidates: items of the catalogue that were not shown have no candidate "
                "features; rank the logged candidates, or leave out schema.features.candidate"
            )
        return [*found, *self._positive_only_problems()]

    def _positive_only_problems(self) -> list[str]:
        if self.search.events.impressions:
            return []
        found = []
        if not self.loader.negatives:
            found.append(
                "loader.negatives is 0, but the log shows engagements only (events.impressions: false): "
                "set how many items to draw as negatives for each request"
            )
        if self.evaluation.candidates == "logged":
            found.append(
                "evaluation.candidates: logged ranks positives among themselves on a log without "
                "impressions; set it to catalogue"
            )
        return found

    def _model_problems(self) -> list[str]:
        found = []
        if len(set(self.models)) < len(self.models):
            found.append("models: a model is named more than once")
        known = [*MODELS, *BASELINES, *self.variants]
        for name in self.models:
            if name not in known:
                found.append(f"models: no model '{name}'{near(name, known)}")
        for name in self.models:
            if name in BASELINES:
                found += [f"models: {problem}" for problem in BASELINES[name].problems(self.search)]
        cross = [n for f in features_of(self.search) for n in (f.name, f.settings.kind)]
        named = {
            "exclude_features": self.model.exclude_features,
            "cross_features.priors": self.model.cross_features.priors,
        }
        for key, names in named.items():
            for name in names:
                if name not in cross:
                    found.append(f"model.{key}: no cross feature or kind '{name}'{near(name, cross)}")
        for table in self.training.sharding:
            if table not in self.search.tables:
                found.append(f"training.sharding: no table '{table}'{near(table, self.search.tables)}")
        if self.model.position_biases and self.search.events.position is None:
            found.append("model.position_biases: needs schema.events.position, the place of an impression")
        layers, heads = self.model.sequence.transformer_layers, self.model.sequence.transformer_heads
        for table in sorted(self.search.sequence_tables & set(self.search.tables)):
            dim = self.search.tables[table].dim
            if layers and self.model.use_sequence and dim % heads:
                found.append(
                    f"model.sequence.transformer_heads: {heads} heads cannot share the {dim} columns of "
                    f"table '{table}'"
                )
        return found

    def _variant_problems(self) -> list[str]:
        found = []
        for name, sections in self.variants.items():
            if name == DEFAULT:
                found.append(f"variants.{name}: its settings are the sections of the config; change those")
                continue
            if name in BASELINES:
                found.append(f"variants.{name}: the name is taken; choose another")
            strange = [s for s in sections if s not in VARIED]
            if strange:
                found += [
                    f"variants.{name}.{s}: a variant changes {', '.join(VARIED)} alone" for s in strange
                ]
                continue
            try:
                self.for_model(name)
            except ConfigError as error:
                found.append(str(error))
        return found

    def _evaluation_problems(self) -> list[str]:
        found = []
        head, names = self.evaluation.head, self.search.head_names
        if head is not None and head not in names:
            found.append(f"evaluation.head: no head '{head}'{near(head, names)}")
        if self.evaluation.by_user and self.search.events.user is None:
            found.append("evaluation.by_user: needs schema.events.user, the column of who searched")
        return found

    def _tuning_problems(self) -> list[str]:
        known = [*MODELS, *BASELINES, *self.variants]
        found = [f"tuning.space.{line}" for line in space_problems(RunConfig, self.tuning.space, VARIED)]
        for name, space in self.tuning.models.items():
            if name not in known:
                found.append(f"tuning.models: no model '{name}'{near(name, known)}")
            found += [f"tuning.models.{name}.{line}" for line in space_problems(RunConfig, space, VARIED)]
        return found

    def dump(self) -> str:
        """Return the config as YAML, defaults included; :func:`load_config` reads it back."""
        return str(yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` with ``changes``, section by section."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        result[key] = merged(old, change) if isinstance(old, dict) and isinstance(change, dict) else change
    return result


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's YAML file, import its plugins and apply ``section.key=value`` settings to it.

    Args:
        path: the file.
        overrides: settings that replace those of the file.

    Returns:
        The checked config.

    Raises:
        ConfigError: the file cannot be read, or lists every mistake in it.
    """
    values = apply_overrides(read_yaml(path), overrides)
    import_plugins(plugin_names(values), str(path))
    return parse_config(RunConfig, values, str(path))

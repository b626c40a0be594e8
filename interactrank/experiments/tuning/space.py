"""The search space of a model: each entry resolved to the settings it stands for, and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from pydantic import ValidationError

from interactrank.core.extras import require
from interactrank.core.search_space import Domain, Place, Range, find_places, is_whole, nested
from interactrank.core.settings import SECOND_PASS, ConfigError, error_lines, near
from interactrank.evaluation.scorers.registry import BASELINES
from interactrank.models import MODELS
from interactrank.runs.config import DEFAULT, VARIED, RunConfig, merged

__all__ = ["Dimension", "changes_of", "search_space"]


@dataclass(frozen=True)
class Dimension:
    """One thing that a tuning varies.

    Attributes:
        key: as the space names it.
        places: of the settings that share the value; more than one if the key holds ``*``.
        domain: a range or choices.
        whole: whether a range is one of whole numbers.
    """

    key: str
    places: tuple[Place, ...]
    domain: Domain
    whole: bool

    def distribution(self) -> Any:
        """Return the domain as Optuna has it; choices are JSON texts, as Optuna has no lists."""
        of = require("optuna", "tune").distributions
        if not isinstance(self.domain, Range):
            return of.CategoricalDistribution([json.dumps(value) for value in self.domain])
        if self.whole:
            return of.IntDistribution(int(self.domain.low), int(self.domain.high), log=self.domain.log)
        return of.FloatDistribution(self.domain.low, self.domain.high, log=self.domain.log)

    def encode(self, value: Any) -> Any:
        """Return a value of the setting as Optuna has it; None if it is not in the domain.

        Example::

            >>> dims = Dimension("model.dim", (("model", "dim"),), [16, 32], whole=True)
            >>> dims.encode(16), dims.encode(20)
            ('16', None)
        """
        if not isinstance(self.domain, Range):
            return json.dumps(value) if value in self.domain else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number and self.domain.low <= value <= self.domain.high else None

    def decode(self, value: Any) -> Any:
        """Return the value of the setting that a value of Optuna's stands for."""
        return value if isinstance(self.domain, Range) else json.loads(value)

    def plain(self) -> Any:
        """Return the domain in JSON's types."""
        return self.domain.model_dump(mode="json") if isinstance(self.domain, Range) else list(self.domain)

    def near_edge(self, value: Any) -> bool:
        """Return whether a value lies within 5 % of an end of its range; False for choices.

        Example::

            >>> rate = Dimension("lr", (("lr",),), Range(low=0.001, high=0.1, log=True), whole=False)
            >>> rate.near_edge(0.09), rate.near_edge(0.05)
            (True, False)
        """
        if not isinstance(self.domain, Range):
            return False
        low, high, at = self.domain.low, self.domain.high, value
        if self.domain.log:
            low, high, at = log(low), log(high), log(at)
        return min(at - low, high - at) <= 0.05 * (high - low)


def search_space(config: RunConfig, model: str) -> list[Dimension]:
    """Return what a tuning of a model varies.

    A default range or list is widened to take in the setting as the config has it, so that the first trial
    can be the config itself. What the section ``tuning`` says is kept as it is.

    Args:
        config: of the run.
        model: a registered model, a variant, or a baseline that has settings.

    Raises:
        ConfigError: there is no such model, there is nothing to vary, or a value cannot be.
    """
    default = default_space(config, model)
    given = as_given(config, model)
    said = {**config.tuning.space, **config.tuning.models.get(model, {})}
    dimensions = []
    for key, domain in config.tuning.domains(model, default).items():
        places, problem = find_places(RunConfig, key)
        if problem is not None:
            raise ConfigError(f"search space of {model}: {key}: {problem}")
        found = [place for place, _ in places]
        if model in BASELINES and all(place[0] in VARIED for place in found):
            continue  # of the models that are trained
        if key not in said:
            domain = _widened(domain, value_at(given, found))
        whole = all(is_whole(annotation) for _, annotation in places)
        dimensions.append(Dimension(key, tuple(found), domain, whole))
    if not dimensions:
        raise ConfigError(
            f"there is nothing to tune for {model}: its search space is empty; name settings in tuning.space"
        )
    _check_values(config, model, dimensions)
    return dimensions


def default_space(config: RunConfig, model: str) -> dict[str, Domain]:
    """Return the space that a model comes with; that of InteractRank for a variant of the config.

    Raises:
        ConfigError: there is no such model.
    """
    family, baseline = MODELS.get(model), BASELINES.get(model)
    if family is not None:
        return dict(family.search_space)
    if model in config.variants:
        return dict(MODELS[DEFAULT].search_space)
    if baseline is None:
        raise ConfigError(f"no model '{model}' to tune{near(model, [*MODELS, *config.variants, *BASELINES])}")
    return dict(baseline.search_space)


def as_given(config: RunConfig, model: str) -> dict[str, Any]:
    """Return the settings that a model has before it is tuned, as plain values."""
    own = config if model in BASELINES else config.for_model(model)
    values = own.model_dump(mode="json", by_alias=True)
    training = values["training"]
    if training["epochs"] is None and training["steps"] is None:
        training["epochs"] = 1  # what a training takes it for
    return values


def changes_of(dimensions: Sequence[Dimension], settings: Mapping[str, Any]) -> dict[Place, Any]:
    """Return place -> value for key -> value.

    Example::

        >>> towers = (("model", "item_tower", "dropout"), ("model", "request_tower", "dropout"))
        >>> shared = Dimension("model.*_tower.dropout", towers, [0.0, 0.1], whole=False)
        >>> list(changes_of([shared], {"model.*_tower.dropout": 0.1}).values())
        [0.1, 0.1]
    """
    return {place: settings[dim.key] for dim in dimensions for place in dim.places}


def value_at(values: Mapping[str, Any], places: Sequence[Place]) -> Any:
    """Return the value that all places have; None if they differ or one has none."""
    found = []
    for place in places:
        at: Any = values
        for step in place:
            at = at.get(step) if isinstance(at, Mapping) else None
        found.append(at)
    return found[0] if all(value == found[0] for value in found) else None


def _widened(domain: Domain, value: Any) -> Domain:
    """Return the domain with a value taken in, where it can be."""
    if value is None:
        return domain
    if not isinstance(domain, Range):
        return domain if value in domain else [value, *domain]
    if isinstance(value, bool | str | list) or (domain.log and value <= 0):
        return domain
    return domain.model_copy(update={"low": min(domain.low, value), "high": max(domain.high, value)})


def _check_values(config: RunConfig, model: str, dimensions: Sequence[Dimension]) -> None:
    """Refuse ends and choices that their settings cannot have."""
    values = as_given(config, model) | {"variants": {}, "models": [DEFAULT]}
    lines: list[str] = []
    for dim in dimensions:
        domain = dim.domain
        tried = [domain.low, domain.high] if isinstance(domain, Range) else domain
        for value in tried:
            changed = values
            for place in dim.places:
                changed = merged(changed, nested(place, int(value) if dim.whole else value))
            try:
                RunConfig.model_validate(changed, context=SECOND_PASS)
            except ValidationError as error:
                lines += error_lines(RunConfig, error)
    if lines:
        lines = list(dict.fromkeys(lines))
        raise ConfigError("\n  - ".join([f"search space of {model}: {len(lines)} values cannot be", *lines]))

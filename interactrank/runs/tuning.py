"""The section ``tuning`` of a run's YAML file: what may vary, and how a trial is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from interactrank.core.search_space import Domain, Range, domain_problems, find_places
from interactrank.core.settings import Config, ConfigError, Name, parse_config

__all__ = ["TuningSettings", "parse_domain", "space_problems"]


class TuningSettings(Config):
    """What ``interactrank tune`` varies, and how it judges a trial."""

    metric: str | None = Field(
        None,
        description="what the validation period is judged by, such as mrr or ndcg@10; the first of the table "
        "when left out",
    )
    requests: int | None = Field(
        None,
        ge=1,
        description="validation requests of a trial, about, spread over the period; all when left out",
    )
    validation_of_train: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="of a log whose split column has no validation requests: this last share of its train "
        "requests validates in the trials, and is trained on again afterwards",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the sampler; a training has its own seeds")
    default_space: bool = Field(True, description="begin with the space that a model comes with")
    space: dict[str, Any] = Field(
        default_factory=dict,
        description="place of a setting -> {low, high, log} or a list of choices, for all models; null keeps "
        "the setting as it is",
    )
    models: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="model -> such a space, for that model alone"
    )

    def problems(self) -> list[str]:
        """Return the entries that are neither a range nor choices."""
        found = []
        for name, space in {
            "space": self.space,
            **{f"models.{n}": s for n, s in self.models.items()},
        }.items():
            for key, value in space.items():
                try:
                    parse_domain(value)
                except ConfigError as error:
                    found += [f"{name}.{key}: {line}" for line in str(error).split("\n")]
        return found

    def domains(self, model: str, default: dict[str, Domain]) -> dict[str, Domain]:
        """Return the space of a model: its default, changed by ``space``, then by its entry of ``models``.

        Args:
            model: its name.
            default: the space that it comes with.

        Example::

            >>> tuning = TuningSettings(space={"loader.seed": [1, 2], "training.epochs": None})
            >>> tuning.domains("two_tower", {"training.epochs": [1, 5]})
            {'loader.seed': [1, 2]}
        """
        given = {**self.space, **self.models.get(model, {})}
        found = dict(default) if self.default_space else {}
        for key, value in given.items():
            domain = parse_domain(value)
            found.pop(key, None)
            if domain is not None:
                found[key] = domain
        return found


def parse_domain(value: Any) -> Domain | None:
    """Return a range for a mapping, choices for a list, None for null.

    Raises:
        ConfigError: it is something else, or the range is wrong; one line for each mistake.

    Example::

        >>> parse_domain({"low": 1, "high": 8})
        Range(low=1.0, high=8.0, log=False)
        >>> parse_domain(3)
        Traceback (most recent call last):
            ...
        interactrank.core.settings.ConfigError: write {low: .., high: ..}, a list of choices, or null; found 3
    """
    if value is None or isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"write {{low: .., high: ..}}, a list of choices, or null; found {value!r}")
    try:
        return parse_config(Range, value)
    except ConfigError as error:
        lines = [line.removeprefix("  - ") for line in str(error).split("\n")[1:]]
        raise ConfigError("\n".join(lines)) from None


def space_problems(kind: type[BaseModel], space: Mapping[str, Any], sections: Sequence[str]) -> list[str]:
    """Return the keys of a space that name no setting, and domains that do not go with theirs.

    Args:
        kind: the class of the whole config.
        space: key -> range, choices or None, as a config has them.
        sections: that may vary.
    """
    found = []
    for key, value in space.items():
        places, problem = find_places(kind, key)
        if problem is None and any(place[0] not in sections for place, _ in places):
            problem = (
                f"all trials share one dataset and one way to judge: what may vary is {', '.join(sections)}"
            )
        if problem is not None:
            found.append(f"{key}: {problem}")
            continue
        try:
            domain = parse_domain(value)
        except ConfigError:
            continue  # told by the section itself
        if domain is not None:
            found += [f"{key}: {p}" for p in domain_problems(domain, [of for _, of in places])]
    return found

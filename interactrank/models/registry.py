"""The registry of models that are trained, by the name that ``models`` of a config and ``--model`` use.

A model of one's own is registered in a module of one's own, which a config names in ``plugins``::

    register_model(ModelFamily(name="no_sequence", title="no sequence", settings=without_sequence))

Variants of a config are built as ``interactrank`` is, with other settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from interactrank.batch import BatchLayout
from interactrank.core.registry import Registry
from interactrank.core.search_space import Domain
from interactrank.models.early_interaction import EarlyInteraction
from interactrank.models.interactrank import InteractRank
from interactrank.models.late_interaction import LateInteraction
from interactrank.models.search_spaces import (
    EARLY_INTERACTION_SPACE,
    INTERACTRANK_SPACE,
    LATE_INTERACTION_SPACE,
    TWO_TOWER_SPACE,
    training_space,
)
from interactrank.models.settings import ModelSettings

__all__ = ["MODELS", "ModelFamily", "build_model", "register_model"]


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A model that is trained.

    Attributes:
        name: in ``models`` of a config, in ``--model`` and in ``metrics.json``.
        title: in pages and pictures.
        settings: from the section ``model`` of the config to the settings of this model.
        build: makes the model of ``layout``, ``settings`` and ``table_device``; a class of one's own derives
            from :class:`~interactrank.models.InteractRank`, by which it is evaluated and exported.
        search_space: what ``interactrank tune`` varies, by the place of a setting in a config; learning rates
            and epochs when left out.
    """

    name: str
    title: str
    settings: Callable[[ModelSettings], ModelSettings] = lambda settings: settings
    build: Callable[..., InteractRank] = InteractRank
    search_space: Mapping[str, Domain] = field(default_factory=training_space)


MODELS: Registry[ModelFamily] = Registry("model")
"""All models that are trained, by name."""


def register_model(model: ModelFamily) -> ModelFamily:
    """Add a model to those that a config may name.

    Args:
        model: with a name of its own.

    Returns:
        ``model``.

    Raises:
        RegistryError: the name is taken or cannot be one.
    """
    return MODELS.add(model.name, model)


def build_model(
    name: str, *, layout: BatchLayout, settings: ModelSettings, table_device: torch.device | None = None
) -> InteractRank:
    """Build a model, untrained.

    Args:
        name: of a registered model, or of a variant of a config, which is an InteractRank.
        layout: where the features of the schema lie in a batch, and the rows of each ID table.
        settings: of this very model.
        table_device: where the ID tables are; ``meta`` for those that are made when they are sharded.
    """
    family = MODELS.get(name) or MODELS["interactrank"]
    return family.build(layout=layout, settings=settings, table_device=table_device)


register_model(ModelFamily(name="interactrank", title="InteractRank", search_space=INTERACTRANK_SPACE))
register_model(
    ModelFamily(
        name="two_tower",
        title="two-tower",
        settings=ModelSettings.two_tower,
        search_space=TWO_TOWER_SPACE,
    )
)
register_model(
    ModelFamily(
        name="early_interaction",
        title="early interaction",
        build=EarlyInteraction,
        search_space=EARLY_INTERACTION_SPACE,
    )
)
register_model(
    ModelFamily(
        name="late_interaction",
        title="late interaction",
        build=LateInteraction,
        search_space=LATE_INTERACTION_SPACE,
    )
)

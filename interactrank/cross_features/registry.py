"""The kinds of cross features: ``register`` makes a class one, from within or outside of the package."""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass
from typing import Any

from interactrank.core.registry import Registry
from interactrank.cross_features.base import Category, CrossFeature, CrossFeatureError, Number, Rate, Ratio
from interactrank.cross_features.candidate import candidate_cross_features
from interactrank.schema import CrossFeatureSettings, SearchSchema
from interactrank.schema.cross_features import SETTINGS

__all__ = ["KINDS", "CrossColumns", "features_of", "module_of", "register"]

KINDS = Registry[type[CrossFeature[Any]]]("cross feature of kind")
_MADE: dict[int, tuple[Any, list[type[CrossFeature[Any]]], list[CrossFeature[Any]]]] = {}


def register(kind: str, feature: type[CrossFeature[Any]]) -> None:
    """Make a class a kind of cross feature: it then computes entries ``{kind: ..., ...}`` of the schema.

    Call it when a module is imported; ``plugins: [my_package.my_module]`` in a run's YAML imports the module
    before anything is read.

    Args:
        kind: its name in YAML.
        feature: a :class:`CrossFeature` with all of its abstract methods.

    Raises:
        RegistryError: the kind is taken or cannot be a name.
        CrossFeatureError: the class does not say what a feature must.
    """
    where = f"cross feature '{kind}'"
    if not (isinstance(feature, type) and issubclass(feature, CrossFeature)):
        raise CrossFeatureError(f"{where}: {feature!r} is not a subclass of CrossFeature")
    if inspect.isabstract(feature):
        missing = ", ".join(sorted(feature.__abstractmethods__))
        raise CrossFeatureError(f"{where}: {feature.__name__} must define {missing}")
    settings = getattr(feature, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, CrossFeatureSettings)):
        raise CrossFeatureError(
            f"{where}: {feature.__name__}.Settings is {settings!r}; it must be a subclass of "
            "CrossFeatureSettings"
        )
    KINDS.add(kind, feature)
    SETTINGS.add(kind, settings)


def module_of(kind: str) -> str:
    """Return the module that defines a kind, which has to be imported for it."""
    return KINDS[kind].__module__


def features_of(schema: SearchSchema) -> list[CrossFeature[Any]]:
    """Return the cross features of a schema, in its order, then the forms of its candidate features.

    They are made once for a schema, as each request that is served asks for them.

    Raises:
        CrossFeatureError: two kinds name the same store or the same keys.
    """
    kinds = [KINDS[settings.kind] for settings in schema.cross_features]
    known = _MADE.get(id(schema))
    if known is None or known[0]() is not schema or known[1] != kinds:
        known = _MADE[id(schema)] = (weakref.ref(schema), kinds, _features_of(schema))
        for of in [of for of, (alive, *_) in list(_MADE.items()) if alive() is None]:
            _MADE.pop(of, None)
    return list(known[2])


def _features_of(schema: SearchSchema) -> list[CrossFeature[Any]]:
    features = [KINDS[settings.kind](settings) for settings in schema.cross_features]
    features += candidate_cross_features(schema)
    owners: dict[tuple[str, str], str] = {}
    for feature in features:
        for what, name in [
            *(("store", name) for name in feature.stores),
            *(("keys", name) for name in feature.key_names),
        ]:
            if "/" in name or name.startswith("."):
                raise CrossFeatureError(
                    f"cross feature '{feature.name}': the {what} '{name}' cannot be a folder or column; "
                    "use letters, digits, underscores and hyphens"
                )
            kind = owners.setdefault((what, name), feature.settings.kind)
            if kind != feature.settings.kind:
                raise CrossFeatureError(
                    f"cross feature '{feature.name}': the {what} '{name}' belong to the kind '{kind}'; "
                    f"choose another name, such as '{feature.settings.kind}-{name}'"
                )
    return features


@dataclass(frozen=True)
class CrossColumns:
    """The order of the tensor columns: rates, numbers and ratios, each in the order of the schema.

    Args:
        rates: the X features with support.
        numbers: the Y numbers and categories.
        ratios: the Z features with engagements and impressions of each candidate.
    """

    rates: tuple[CrossFeature[Any], ...] = ()
    numbers: tuple[CrossFeature[Any], ...] = ()
    ratios: tuple[CrossFeature[Any], ...] = ()

    @classmethod
    def of(cls, schema: SearchSchema) -> CrossColumns:
        """Return the columns of a schema."""
        return cls.of_features(features_of(schema))

    @classmethod
    def of_features(cls, features: list[CrossFeature[Any]]) -> CrossColumns:
        """Return the columns of some features."""
        return cls(
            tuple(f for f in features if isinstance(f.column, Rate)),
            tuple(f for f in features if isinstance(f.column, Number | Category)),
            tuple(f for f in features if isinstance(f.column, Ratio)),
        )

    @property
    def rate_names(self) -> list[str]:
        """[X] names of the rates."""
        return [f.name for f in self.rates]

    @property
    def number_names(self) -> list[str]:
        """[Y] names of the numbers."""
        return [f.name for f in self.numbers]

    @property
    def ratio_names(self) -> list[str]:
        """[Z] names of the ratios."""
        return [f.name for f in self.ratios]

"""Settings of cross features: the entries of ``cross_features`` in a schema, each of a registered kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, ValidationInfo

from interactrank.core.registry import Registry
from interactrank.core.settings import Config, Name, error_lines, near

if TYPE_CHECKING:
    from interactrank.schema.search_schema import SearchSchema

__all__ = ["SETTINGS", "AnyCrossFeature", "CrossFeatureSettings"]


class CrossFeatureSettings(Config):
    """The base of a cross feature's settings; a subclass adds fields and says what is wrong with them."""

    kind: Name = Field(
        description="which class computes it; iqp, touch, item_cosine, query_cosine, bm25 or your own"
    )

    @property
    def name(self) -> str:
        """The feature's name, which no other entry may have; by default its kind."""
        return self.kind

    @property
    def item_columns(self) -> list[str]:
        """Columns of the items file that the feature reads."""
        return []

    @property
    def field_columns(self) -> list[str]:
        """Columns of the items file by whose values the feature counts."""
        return []

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what the feature asks of the other sections and does not find, one message each."""
        return []


SETTINGS = Registry[type[CrossFeatureSettings]]("kind of cross feature")
"""The settings of every kind; :func:`interactrank.cross_features.register` adds to it."""


def _of_kind(value: Any, info: ValidationInfo) -> CrossFeatureSettings:
    if isinstance(value, CrossFeatureSettings):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"expected settings such as {{kind: iqp, key: query}}, found {value!r}")
    kind = value.get("kind")
    if kind is None:
        raise ValueError(f"needs a kind; allowed: {', '.join(SETTINGS)}")
    if kind not in SETTINGS:
        raise ValueError(
            f"no kind '{kind}' of cross feature{near(str(kind), SETTINGS.names())} (a kind of your own "
            "must be registered first: name its module under plugins, or import it)"
        )
    settings = SETTINGS[kind]
    try:
        return settings.model_validate(value, context=info.context)
    except ValidationError as error:
        raise ValueError("\n".join(error_lines(settings, error))) from None


AnyCrossFeature = Annotated[SerializeAsAny[CrossFeatureSettings], BeforeValidator(_of_kind)]
"""An entry of ``cross_features``: its ``kind`` decides which settings it is read as."""

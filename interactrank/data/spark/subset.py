"""What the Spark engine does not do: it refuses it before anything is read."""

from __future__ import annotations

from interactrank.cross_features import features_of
from interactrank.cross_features.registry import module_of
from interactrank.data.errors import DatasetError
from interactrank.data.extras import pa
from interactrank.data.raw.table import RawTable
from interactrank.data.settings import PrepareSettings
from interactrank.schema import SearchSchema

__all__ = ["check_columns", "check_files", "check_subset"]

_SCALARS = ("bool", "int8", "int16", "int32", "int64", "float", "double", "string")


def check_subset(schema: SearchSchema, settings: PrepareSettings) -> None:
    """Refuse settings that only one machine can do.

    Raises:
        DatasetError: names all of them.
    """
    found = []
    if settings.keep_log:
        found.append("prepare.keep_log (and with it --append and forget)")
    if settings.max_events_per_user_day or settings.max_events_per_query_day:
        found.append("prepare.max_events_per_user_day and max_events_per_query_day")
    if schema.events.split and settings.split.validation_of_train:
        found.append("prepare.split.validation_of_train")
    kinds = sorted({f.settings.kind for f in features_of(schema) if f.settings.kind in _kinds(schema)})
    own = [kind for kind in kinds if not module_of(kind).startswith("interactrank.")]
    if own:
        found.append(f"cross features of one's own ({', '.join(own)})")
    if found:
        raise DatasetError(f"--engine spark cannot do: {'; '.join(found)}; use --engine local for them")


def check_files(table: RawTable) -> None:
    """Refuse files of events that differ, which Spark would have to bring to one form.

    Raises:
        DatasetError: they have other columns or types.
    """
    if len(table.groups) > 1:
        one, other = (group.files[0].name for group in table.groups[:2])
        raise DatasetError(
            f"'{one}' and '{other}' have other columns or types of columns: --engine spark reads files that "
            "are alike; write them so, or use --engine local"
        )


def check_columns(fields: pa.Schema) -> None:
    """Refuse columns whose values Spark would change on the way.

    Raises:
        DatasetError: names the first.
    """
    for f in fields:
        if "." in f.name or "`" in f.name:
            raise DatasetError(
                f"--engine spark cannot read the column '{f.name.removeprefix('c_')}', whose name has a dot "
                "or a back quote: rename it, or use --engine local"
            )
        kind = f.type.value_type if hasattr(f.type, "value_type") else f.type
        if str(kind) not in _SCALARS:
            raise DatasetError(
                f"column '{f.name.removeprefix('c_')}' holds {f.type}, which --engine spark does not carry: "
                "write numbers, texts or lists of them, or use --engine local"
            )


def _kinds(schema: SearchSchema) -> set[str]:
    return {settings.kind for settings in schema.cross_features}

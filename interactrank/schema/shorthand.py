"""The short spelling of the two most common kinds of cross features: the lists ``iqp`` and ``lexical``."""

from __future__ import annotations

from typing import Any

__all__ = ["expand"]

COSINES = {"history": "sequence", "history_query": "same_query"}


def expand(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose lists ``iqp`` and ``lexical`` are entries of ``cross_features``, in that order.

    Args:
        schema: as read from YAML; anything but lists of mappings is left for the settings to refuse.

    Example::

        >>> expand({"iqp": [{"key": "query"}], "lexical": [{"columns": ["title"]}]})["cross_features"]
        [{'kind': 'iqp', 'key': 'query'}, {'kind': 'bm25', 'columns': ['title']}]
    """
    kinds = {"iqp": _iqp, "lexical": lambda entry: {"kind": "bm25", **entry}}
    lists = {key: schema[key] for key in kinds if isinstance(schema.get(key), list)}
    entries = [
        kinds[key](entry) if isinstance(entry, dict) else entry
        for key, found in lists.items()
        for entry in found
    ]
    if not lists:
        return schema
    rest = {key: value for key, value in schema.items() if key not in lists}
    return rest | {"cross_features": [*entries, *(schema.get("cross_features") or [])]}


def _iqp(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with its kind: a cosine for the items of the user sequence, else a share."""
    if entry.get("key") not in COSINES or entry.get("average") != "cosine":
        return {"kind": "iqp", **entry}
    kind = "query_cosine" if entry.get("over") == "queries" else "item_cosine"
    rest = {key: value for key, value in entry.items() if key not in ("key", "average", "over")}
    return {"kind": kind, "items": COSINES[entry["key"]], **rest}

"""Delta tables: which files of the folder are the table, and not of an earlier version of it.

The table's log, ``_delta_log``, has a JSON file for each commit, with an action in each line: a file that is
added or removed (https://github.com/delta-io/delta/blob/master/PROTOCOL.md).
"""

from __future__ import annotations

import json
from urllib.parse import unquote

from interactrank.data.errors import DatasetError
from interactrank.data.raw.place import Place

__all__ = ["DELTA_LOG", "live_files"]

DELTA_LOG = "_delta_log"


def live_files(place: Place, folder: str) -> set[str] | None:
    """Return the paths of a Delta table's newest version; None if the folder is not one.

    Raises:
        DatasetError: early commits are gone, or rows are marked as deleted within files.
    """
    if DELTA_LOG not in {e.name for e in place.entries(folder) if e.is_folder}:
        return None
    commits = [e for e in place.entries(f"{folder}/{DELTA_LOG}") if e.name.endswith(".json")]
    if not commits or int(commits[0].name.partition(".")[0]) != 0:
        raise DatasetError(_export(place, folder, "its first commits are in a checkpoint"))
    live: set[str] = set()
    for commit in commits:
        for line in place.read(commit.path).decode().splitlines():
            action = json.loads(line)
            if "add" in action:
                if action["add"].get("deletionVector"):
                    raise DatasetError(_export(place, folder, "rows are deleted within its files"))
                live.add(f"{folder}/{unquote(action['add']['path'])}")
            elif "remove" in action:
                live.discard(f"{folder}/{unquote(action['remove']['path'])}")
    return live


def _export(place: Place, folder: str, why: str) -> str:
    return f"'{place.name_of(folder)}' is a Delta table, and {why}; write its rows as plain Parquet"

"""Modules of the user's own, imported before a config is checked.

A config names them under ``plugins``. What they register (cross features, metrics, baselines) is then known
to every verb and on every rank.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interactrank.core.settings import ConfigError

__all__ = ["import_plugins", "plugin_names"]


def plugin_names(values: dict[str, Any]) -> list[str]:
    """Return what ``plugins`` of an unchecked config names; nothing if it is not a list of names.

    Example::

        >>> plugin_names({"plugins": ["shop.features"]}), plugin_names({"plugins": 3}), plugin_names({})
        (['shop.features'], [], [])
    """
    names = values.get("plugins")
    return [str(name) for name in names] if isinstance(names, list) else []


def import_plugins(names: Sequence[str], source: str) -> None:
    """Import modules, from the working directory too.

    Args:
        names: such as ``shop.features`` for ``shop/features.py``.
        source: of the config, for the message.

    Raises:
        ConfigError: a module does not exist or fails; names the reason and the directory.
    """
    here = str(Path.cwd())
    if names and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # the entry point `interactrank` does not search it, `python -m` does
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise _failed(source, name, error) from error
            raise ConfigError(
                f"{source}: plugins: no module '{name}'; it must be installed, or lie in the working "
                f"directory {here}"
            ) from None
        except Exception as error:  # code of the user's
            raise _failed(source, name, error) from error


def _failed(source: str, name: str, error: Exception) -> ConfigError:
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where, trace = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}", trace.tb_next
    return ConfigError(
        f"{source}: plugins: importing '{name}' fails: {type(error).__name__}: {error} (at {where})"
    )

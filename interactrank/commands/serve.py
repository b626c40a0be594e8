"""``interactrank serve``: an export behind HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "Answer requests over HTTP with an export; a new version of it is served without a restart."
EXAMPLE = "interactrank serve exports/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("export", type=Path, nargs="?", help="folder of the export; or use --config")
    parser.add_argument("--config", type=Path, help="YAML file: models, shares, limits and all else")
    parser.add_argument(
        "--two-tower",
        type=Path,
        help="export of a two-tower model, which the search page shows for comparison",
    )
    parser.add_argument("--host", help="address to listen on; 127.0.0.1 when left out")
    parser.add_argument("--port", type=int, help="8000 when left out; 0 takes a free one")
    parser.add_argument(
        "--events", help="log of the events that are recorded: a folder, or redis://host/name"
    )
    parser.add_argument("--log", type=Path, help="folder of the request log: what was served and came back")
    parser.add_argument("--workers", type=int, help="processes that answer; 1 when left out")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from interactrank.core.settings import ConfigError, parse_config
    from interactrank.core.versions import check
    from interactrank.core.yaml_file import read_yaml
    from interactrank.server.settings import ServerSettings

    check()
    if (options.export is None) == (options.config is None):
        raise ConfigError("name an export, or a config with --config; not both")
    values = {} if options.config is None else read_yaml(options.config)
    if options.export is not None:
        values["models"] = {"main": {"export": str(options.export)}}
    if options.two_tower is not None:
        values.setdefault("models", {})["two_tower"] = {"export": str(options.two_tower), "share": 0}
    for name in ("host", "port", "workers", "events"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if options.log is not None:
        values["log"] = {**values.get("log", {}), "folder": str(options.log)}
    settings = parse_config(ServerSettings, values, str(options.config or "arguments"))
    from interactrank.server.supervisor import serve

    return serve(settings)

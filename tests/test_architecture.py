"""A package imports only packages that stand above it in the map of docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "interactrank"
ORDER = [
    "version",
    "core",
    "modules",
    "schema",
    "batch",
    "cross_features",
    "models",
    "data",
    "distributed",
    "sharding",
    "checkpoint",
    "training",
    "evaluation",
    "serving",
    "runs",
    "server",
    "experiments",
    "commands",
    "components",
    "cli",
]
NO_SEARCH = ("distributed", "sharding", "checkpoint", "training")
"""They train any TorchRec model: of the package they may import core, modules and each other."""


def unit(module: str) -> str | None:
    """``interactrank.core.files`` -> ``core``; None for the root and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "interactrank" and len(parts) > 1 else None


def imports(path: Path) -> set[str]:
    """Units that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {unit(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {unit(name) for name in names if node.module == "interactrank"}
            found.add(unit(str(node.module)))
    return {u for u in found if u in ORDER}


def files() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def own_unit(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_package_has_its_place_in_the_order() -> None:
    assert {own_unit(path) for path in files()} <= set(ORDER)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_upwards(path: Path) -> None:
    own = own_unit(path)
    above = set(ORDER[: ORDER.index(own) + 1])
    if own in NO_SEARCH:
        above &= {"version", "core", "modules", *NO_SEARCH}
    below = imports(path) - above
    assert not below, (
        f"{path.relative_to(PACKAGE)} is in {own}, which may not import {', '.join(sorted(below))}"
    )

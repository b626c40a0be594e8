"""Docs, docstrings and messages are in the field's words and plain English.

Rules that a machine can hold: no word of the list below, docstrings of functions begin with a verb in the
imperative (ruff's D401), and nothing names a folder that a user does not have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / name for name in ("interactrank", "examples", "benchmarks")]
CODE = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
CONFIGS = sorted(path for folder in FOLDERS for path in folder.rglob("*.yaml"))

BANNED = {
    r"\banew\b": "again",
    r"\b(take|takes|taken|taking|took) (it |them |a run |a training )?up\b(?! to\b)": "resume",
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\bthe former\b": "the previous one, by its name",
    r"\bso many\b": "the number",
    r"\bpassed over\b": "not engaged with, ignored",
    r"\blets? go\b": "release",
    r"\bbesides?\b": "next to, in addition to, with",
    r"\bstrange\b": "unknown, unexpected",
    r"(?<!there )(?<!There )\b(is|are) no (?!longer\b|more\b|less\b)": "is not a",
    r"\bof which\b": "a sentence of its own",
    r"\blikewise\b": "say it again",
    r"\bas of :(func|class|meth)": "see",
    r"\.\./shared\b": "path/to/...",
}
"""Pattern -> what to write instead; from the review of the code in the field's words."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings, messages and comments of a file, with their line."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for number, line in enumerate(source.splitlines(), 1):
        if comment := re.search(r"(?:^|\s)#\s(.*)", line):
            yield number, comment[1]


def found(text: str) -> list[str]:
    """What is banned in a text.

    Example::

        >>> found("The file is no checkpoint; train anew.")
        ["'anew' (again)", "'is no ' (is not a)"]
    """
    folded = re.sub(r"\s+", " ", text)
    return [
        f"'{match[0]}' ({instead})"
        for pattern, instead in BANNED.items()
        for match in [re.search(pattern, folded, re.IGNORECASE)]
        if match
    ]


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_messages_and_docstrings_are_plain(path: Path) -> None:
    wrong = [f"{path.relative_to(ROOT)}:{line}: {what}" for line, text in texts(path) for what in found(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", [*PAGES, *CONFIGS], ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_are_plain(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    wrong = [f"{path.name}: {what} in: {part[:80]!r}" for part in prose.split("\n\n") for what in found(part)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_titles_name_their_subject(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)", prose, re.MULTILINE)
    assert not [t for t in titles if t.startswith(("What ", "How it ", "Where "))]


def test_found__each_pattern_finds_its_own_sentence() -> None:
    sentences = [
        "train it anew", "a run that is taken up", "one to mend", "keeps the former", "after so many steps",
        "shown and passed over", "lets go of rows", "a table beside it", "a strange key", "this is no folder",
        "files, of which one", "the same likewise", "group: as of :func:`gather`", "--data ../shared/data/x",
    ]  # fmt: skip
    assert len(sentences) == len(BANNED)
    for sentence, pattern in zip(sentences, BANNED, strict=True):
        assert re.search(pattern, sentence), sentence
    assert found("there is no file; it is no longer needed") == []

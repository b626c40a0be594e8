"""The README and the pages of docs/ say what the code does."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from interactrank import modules
from interactrank.cli import parse
from interactrank.core.settings import Config, parse_config
from interactrank.runs.config import RunConfig
from interactrank.schema import SearchSchema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "packaging" / "DESCRIPTION.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_of_the_readme_runs():
    (code,) = blocks("python")
    names = {}
    exec(code, names)
    assert names["scores"].shape == (3, 2)  # three candidates, two heads


def test_description_of_the_wheel_works_outside_of_the_repository():
    """A package index shows it alone: no picture, no relative link, code that runs."""
    text = (ROOT / "packaging" / "DESCRIPTION.md").read_text()
    assert not re.findall(r"!\[|\]\((?!https://)", text)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["scores"].shape == (3, 2)


def test_config_of_the_readme_is_valid():
    (text,) = blocks("yaml")
    config = parse_config(RunConfig, yaml.safe_load(text), "README.md")
    assert [f.name for f in config.search.cross_features] == [
        *("query_click_90d", "words_click", "bm25_words_title")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def commands():
    """The command lines of the pages, without what starts them: ``make`` or the interpreter."""
    for page in PAGES:
        for line in re.findall(r"^    (\S.*)", page.read_text().replace("\\\n", " "), re.MULTILINE):
            words = shlex.split(line, comments=True)
            program = next(
                (i for i, w in enumerate(words) if re.fullmatch(r"(.*/)?interactrank(\.cli)?", w)), None
            )
            if program is not None:
                yield words[program + 1 :]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_command_lines_are_accepted(words):
    assert parse(words).verb == words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^    |`)make (?:-B )?(\w+)", page.read_text(), re.MULTILINE):
        assert target in targets


def schema_keys(settings=SearchSchema):
    for name, field in settings.model_fields.items():
        yield name
        for kind in re.findall(r"interactrank\.schema\.(\w+)", repr(field.annotation)):
            section = getattr(__import__("interactrank.schema", fromlist=[kind]), kind)
            if isinstance(section, type) and issubclass(section, Config):
                yield from schema_keys(section)


@pytest.mark.parametrize("key", sorted(set(schema_keys())))
def test_every_key_of_the_schema_is_explained(key):
    assert f"`{key}`" in (ROOT / "docs" / "data.md").read_text()


def test_every_module_is_on_its_page():
    page = (ROOT / "docs" / "modules.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    assert set(modules.__all__) <= named

"""The tables of ablations in docs/results.md."""

import json
from pathlib import Path

import pytest

from interactrank.experiments.page import markdown
from tests.experiments.reports import report
from tools.ablation_page import block
from tools.readme_table import replace_block

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"


def test_tables_come_from_the_file(tmp_path):
    result = tmp_path / "results" / "ablation_mine.json"
    result.parent.mkdir()
    result.write_text(json.dumps(report()))
    page = tmp_path / "docs" / "page.md"
    assert block(result, page) == markdown(report())
    result.with_suffix(".png").write_bytes(b"PNG")
    assert block(result, page) == (
        f"![What each part adds](../results/ablation_mine.png)\n\n{markdown(report())}"
    )


@pytest.mark.parametrize("log", ["demo", "bestbuy", "lastfm"])
def test_the_page_has_a_place_for_each_log(log):
    assert "new" in replace_block(PAGE.read_text(), "new", f"ablation-{log}")


@pytest.mark.parametrize(
    "result", sorted(ROOT.glob("benchmarks/results/ablation_*.json")), ids=lambda p: p.name
)
def test_what_stands_there_is_what_the_files_say(result):
    assert block(result, PAGE) in PAGE.read_text()

"""The table of the README."""

import pytest

from tools.readme_table import comparison_table, paired_lines, replace_block


def value(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


REPORT = {
    "models": {
        "interactrank": {"hit@3": value(0.8), "mrr": value(0.6)},
        "bm25": {"hit@3": value(0.5), "mrr": value(0.6), "map": value(0.1)},
    },
    "data": {"optimum": {"hit@3": 0.9}},
    "versions": {"torch": "2.13.0+cpu", "torchrec": "1.8.0", "fbgemm": "1.8.0", "numpy": "2.4.6"},
}


def test_table():
    assert comparison_table(REPORT) == (
        "|  | HIT@3 | MRR |\n"
        "| --- | --- | --- |\n"
        "| BM25 | 0.500 (0.400-0.600) | **0.600** (0.500-0.700) |\n"
        "| InteractRank | **0.800** (0.700-0.900) | **0.600** (0.500-0.700) |\n"
        "| the optimum | 0.900 |  |\n"
        "\n"
        "In brackets: 95 % bootstrap intervals. torch 2.13.0+cpu, torchrec 1.8.0, fbgemm 1.8.0."
    )


def test_block_is_replaced():
    page = "a\n<!-- demo:begin -->\nold\n<!-- demo:end -->\nb"
    assert replace_block(page, "new") == "a\n<!-- demo:begin -->\nnew\n<!-- demo:end -->\nb"


def test_page_without_markers():
    with pytest.raises(ValueError, match="has no <!-- demo:begin"):
        replace_block("a", "new")


def test_a_block_is_found_by_its_name():
    page = "<!-- demo:begin -->\nfirst\n<!-- demo:end -->\n<!-- log:begin -->\nold\n<!-- log:end -->"
    assert replace_block(page, "new", "log") == page.replace("old", "new")


def test_differences():
    difference = {"difference": 0.1234, "low": -0.01, "high": 0.25}
    four = {"auc": difference, "hit@10": difference, "mrr": difference, "hit@3": difference}
    report = {"paired": {"interactrank - two_tower": four}}
    found = ", ".join(f"{m} +0.123 (-0.010 to +0.250)" for m in ("HIT@3", "HIT@10", "MRR"))
    assert paired_lines(report) == f"- InteractRank minus two-tower: {found}"

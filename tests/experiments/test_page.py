"""The page of an ablation: what stands in it, and the same on the console."""

import io
import re

import numpy as np
from rich.console import Console

from interactrank.experiments.page import markdown, show, step
from tests.experiments import reports
from tests.experiments.reports import report, table


def rows(page: str) -> dict[str, list[str]]:
    """First cell of each row -> the others."""
    lines = [
        [c.strip() for c in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:1] == "|"
    ]
    return {line[0]: line[1:] for line in lines}


def test_a_row_for_each_model():
    found = rows(markdown(report(optimum=table(95))))
    assert found["BM25"][0].startswith("0.200 (0.")
    assert found["BM25"][1:4] == ["", "", ""]  # one seed, compared with nothing
    assert found["two-tower"][1] == "0.480-0.520"
    assert found["two-tower"][2].startswith("+0.300 (+0.")
    assert found["+ lexical match = full"][0].startswith("**0.800 (")
    assert found["full - IQP"][2].startswith("-0.300 (-0.")
    assert found["the optimum"][:5] == ["0.950", "", "", "", "1.000"]
    assert (
        found["full - MaskNet"][3]
        == f"{report()['paired']['full - full_without_mask_net']['hit@3']['p_holm']:.3f}"
    )


def test_groups_are_told_apart_in_order():
    page = markdown(report())
    places = [
        page.index(t)
        for t in ("*not trained*", "*one part more at a time*", "*the full model without a part*")
    ]
    assert places == sorted(places)
    assert "*the full model with a part more*" not in page  # there is none


def test_findings_stand_below_with_their_pair():
    page = markdown(report())
    (iqp,) = [line for line in page.splitlines() if line.startswith("| The cross features")]
    assert iqp.startswith("| The cross features (IQP) help | full against full - IQP | +0.300 (+0.")
    assert iqp.endswith(") | 0.001 | **agrees** |")  # 1e-4 * 5 tests = 5e-4
    (sequence,) = [line for line in page.splitlines() if line.startswith("| The user sequence")]
    assert sequence == "| The user sequence helps |  |  |  | **not tested** |"


def test_the_page_says_how_it_was_measured():
    page = markdown(report(failed={"plus_log_q, seed 1": "the loss became NaN"}))
    assert "100 test requests, each ranking their logged candidates; 2 seeds." in page
    assert "interval over requests" in page
    assert "two-tower against BM25" in page
    assert "corrected by Holm for the 5 tests" in page
    assert "Not trained: plus_log_q, seed 1: the loss became NaN" in page
    assert re.search(r"torch \d", page)


def test_equal_models_are_named():
    page = markdown(
        report("plain_two_tower", "plus_iqp_back_off", hits={"plain_two_tower": 50, "plus_iqp_back_off": 70})
    )
    assert re.search(r"The same model as \+ IQP back-off \(.*\): full - lexical match\.", page)


def test_no_negative_zero():
    same = report("full", "full_without_iqp", hits={"full": 50, "full_without_iqp": 50})
    assert rows(markdown(same))["full - IQP"][2] == "+0.000 (+0.000 to +0.000)"


def test_a_step_is_the_difference_to_what_a_model_is_compared_with():
    found = report()
    pair = found["paired"]["full - full_without_iqp"]["hit@3"]
    against, turned = step(found, "full_without_iqp")
    assert against == "full"
    assert (turned["difference"], turned["low"], turned["high"]) == (
        -pair["difference"], -pair["high"], -pair["low"],
    )  # fmt: skip
    assert step(found, "full") == ("plain_two_tower", found["paired"]["full - plain_two_tower"]["hit@3"])
    assert step(found, "bm25") == (None, None)


def test_the_console_shows_the_numbers_of_the_page():
    console = Console(file=io.StringIO(), width=80)
    found = report(optimum=table(95))
    show(found, console)
    shown = console.file.getvalue()
    for cells in rows(markdown(found)).values():
        for cell in cells:
            if re.match(r"[*+-]*\d", cell):
                assert cell.strip("*") in shown
    assert "agrees" in shown
    assert console.width == 80


def test_what_is_not_defined_is_a_dash():
    found = report()
    for model in found["models"].values():
        model["metrics"]["mrr"] = {"value": None, "low": None, "high": None, "requests": 0}
    found["paired"]["full - full_without_iqp"]["hit@3"] |= {"low": None, "high": None, "p_holm": None}
    cells = rows(markdown(found))["full - IQP"]
    assert cells[2:4] == ["-0.300 (- to -)", "-"]
    assert cells[-1] == "-"
    show(found, Console(file=io.StringIO()))


def test_nothing_to_rank__is_shown_as_dashes(monkeypatch):
    def undefined(hits):
        return {
            name: np.full(len(column), np.nan) if column.dtype.kind == "f" else column
            for name, column in table(hits).items()
        }

    monkeypatch.setattr(reports, "table", undefined)
    nothing = report()
    found = rows(markdown(nothing))
    assert found["+ lexical match = full"][:4] == ["-", "", "-", "-"]
    show(nothing, Console(file=io.StringIO()))
    assert "no difference shown" in markdown(nothing)
    assert step(nothing, "full_without_iqp")[1]["difference"] is None

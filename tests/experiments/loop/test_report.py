"""The report of the loop: what is above what, and how it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interactrank.experiments.loop.arms import ARMS
from interactrank.experiments.loop.estimates import Estimate
from interactrank.experiments.loop.outcomes import Outcomes
from interactrank.experiments.loop.plot import plot_loop
from interactrank.experiments.loop.report import loop_report, markdown, size, verdict

LEVELS = {"bm25": 1.0, "two_tower": 1.5, "interactrank": 1.8, "frozen": 1.8, "histories": 1.8, "live": 1.8}


def outcomes(seed: int, requests: int = 4000) -> Outcomes:
    """Expected engagements that differ by arm, and what is drawn by them; the last two arms are not seen."""
    rng = np.random.default_rng(seed)
    user = rng.integers(300, size=requests)
    arm = user % 4
    need = rng.gamma(9.0, 1 / 9, size=requests)  # of the request, whoever serves it
    expected = {f"expected.{name}": level * need for name, level in LEVELS.items()}
    expected["expected.interactrank"] = 1.8 * need * rng.uniform(0.95, 1.05, size=requests)
    bounds = {
        "expected.optimum": 2.0 * need,
        "expected.chance": 0.5 * need,
        "expected.retrieval": 0.7 * need,
    }
    own = np.stack([expected[f"expected.{a.name}"] for a in ARMS])[arm, np.arange(requests)]
    return {
        "user": user,
        "arm": arm,
        "engaged": rng.poisson(own).astype(float),
        **expected,
        **bounds,
    }


@pytest.fixture(scope="module")
def report() -> dict:
    days = [outcomes(0), outcomes(1)]
    costs = [{"train interactrank": 30.0}, {"append": 5.0, "train interactrank": 1.0}]
    return {"days_served": 2, "shown": 10, **loop_report(ARMS, ["2024-01-01", "2024-01-02"], days, costs)}


def test_engagement_and_the_share_of_the_possible(report: dict) -> None:
    of = report["engagements_per_request"]["of"]
    assert of["two_tower"]["all_users"]["value"] == pytest.approx(1.5, rel=0.02)
    assert of["two_tower"]["own_users"]["value"] == pytest.approx(1.5, abs=0.06)
    # (1.5 - 0.5) / (2 - 0.5)
    assert of["two_tower"]["share_of_possible"] == pytest.approx(2 / 3)
    assert of["optimum"]["share_of_possible"] == 1
    assert of["chance"]["share_of_possible"] == 0
    assert of["histories"]["own_users"] is None
    assert of["histories"]["requests"] == 0
    assert sum(a.get("requests", 0) for a in of.values()) == report["engagements_per_request"]["searches"]
    assert [day["searches"] for day in report["days"]] == [4000, 4000]


def test_lifts(report: dict) -> None:
    lifts = {(lift["arm"], lift["over"]): lift for lift in report["lifts"]}
    found = lifts["two_tower", "bm25"]
    assert found["all_users"]["value"] == pytest.approx(0.5)
    assert found["own_users"]["low"] < 0.5 < found["own_users"]["high"]
    assert found["verdict"] == "agrees"
    assert found["paper"] is None
    found = lifts["interactrank", "two_tower"]
    assert found["paper"] == 0.037
    assert found["size"] == "larger here"
    found = lifts["interactrank", "frozen"]
    assert abs(found["all_users"]["value"]) < 0.01
    assert found["own_users"]["low"] < 0 < found["own_users"]["high"]
    assert lifts["histories", "frozen"]["own_users"] is None


def test_the_page_has_a_row_for_each_arm_and_lift(report: dict) -> None:
    page = markdown(report)
    assert page.startswith("# The closed loop: 2 days, 8,000 searches, lists of 10\n")
    assert re.search(r"\| two-tower \| 75 / \d,\d{3} \| 1\.\d{3} \[", page)
    assert "| the optimum | - | - | 2.0" in page
    assert "| InteractRank over BM25 |" in page
    assert "| +6.5%, larger here | agrees |" in page
    assert page.endswith("Seconds: before the first day 30, a night 6.0.\n")
    json.loads(json.dumps(report, allow_nan=False))


def test_the_picture(report: dict, tmp_path: Path) -> None:
    with Image.open(plot_loop(report, tmp_path / "loop.png")) as picture:
        assert picture.size == (1800, 720)
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
    assert len(colours) > 20


@pytest.mark.parametrize(
    ("own", "every", "text"),
    [
        ((0.1, 0.2), (0.1, 0.2), "agrees"),
        ((-0.1, 0.2), (0.1, 0.2), "agrees on all searches; its own users alone do not show it"),
        (None, (0.1, 0.2), "agrees on all searches"),
        ((0.1, 0.2), (-0.1, 0.2), "no difference shown"),
        ((0.1, 0.2), (-0.2, -0.1), "does not agree"),
    ],
)
def test_verdicts(own: tuple[float, float] | None, every: tuple[float, float], text: str) -> None:
    made = [None if of is None else Estimate(sum(of) / 2, *of) for of in (own, every)]
    assert made[1] is not None
    assert verdict(made[0], made[1]) == text


def test_sizes_against_the_paper() -> None:
    assert size(Estimate(0.06, 0.05, 0.07), 0.065) == "within the interval"
    assert size(Estimate(0.01, 0.0, 0.02), 0.065) == "smaller here"
    assert size(Estimate(0.5, 0.4, 0.6), 0.065) == "larger here"


def test_one_user_in_an_arm_has_no_interval() -> None:
    one = outcomes(3, requests=50)
    one["arm"] = np.where(one["user"] == one["user"][0], 0, 1)
    found = loop_report(ARMS, ["2024-01-01"], [one], [{"prepare": 1.0}])
    assert found["engagements_per_request"]["of"]["bm25"]["own_users"] is None
    assert found["lifts"][0]["own_users"] is None
    assert "Seconds: before the first day 1." in markdown({"days_served": 1, "shown": 3, **found})

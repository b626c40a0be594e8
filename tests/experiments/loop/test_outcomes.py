"""A day of searches: users see the list of their arm, and only that is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from interactrank.data.simulator import SimulationSettings
from interactrank.experiments.loop.arms import Arm
from interactrank.experiments.loop.outcomes import join, load_outcomes, serve_day
from interactrank.experiments.loop.site import Site

SETTINGS = SimulationSettings(
    users=40, items=80, intents=6, topics=2, requests=600, days=6, candidates_min=5, candidates_max=6, pool=8
)
ARMS = (
    Arm("first", "first", None, trains=False, exports=False),
    Arm("unseen", "unseen", None, trains=False, exports=False, shown=False),
    Arm("last", "last", None, trains=False, exports=False),
)


class Fixed:
    """Shows the candidates in the order of the retrieval, or from its end."""

    def __init__(self, step: int) -> None:
        self.step = step

    def best(
        self, requests: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]], k: int
    ) -> list[list[str]]:
        return [list(of[:: self.step][:k]) for of in candidates]


RANKERS = {"first": Fixed(1), "unseen": Fixed(1), "last": Fixed(-1)}


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(SETTINGS, days=1, shown=3)


def test_a_day(site: Site, tmp_path: Path) -> None:
    (day,) = site.served()
    outcomes = serve_day(site, day, [{}] * len(day.searches), ARMS, RANKERS, tmp_path / "day")
    assert set(outcomes["arm"].tolist()) == {0, 2}
    by_user = {(u, a) for u, a in zip(outcomes["user"].tolist(), outcomes["arm"].tolist(), strict=True)}
    assert len(by_user) == len(set(outcomes["user"].tolist()))  # nobody sees two arms
    log = pq.read_table(tmp_path / "day" / "events.parquet")
    columns = {name: log[name].to_numpy() for name in log.column_names if name not in ("query", "split")}
    click, save, long_click, short_click = (
        columns[name].astype(bool) for name in ("click", "save", "long_click", "short_click")
    )
    engaged = (click | save | long_click) & ~short_click
    assert np.unique(columns["request_id"]).tolist() == day.searches.number.tolist()
    for n, number in enumerate(day.searches.number.tolist()):
        rows = columns["request_id"] == number
        assert columns["position"][rows].tolist() == [1, 2, 3]
        wanted = day.items[n][:3] if outcomes["arm"][n] == 0 else day.items[n][::-1][:3]
        assert columns["item_id"][rows].astype(str).tolist() == wanted
        assert engaged[rows].sum() == outcomes["engaged"][n]
        name = ARMS[outcomes["arm"][n]].name
        total = columns["true_probability"][rows].sum()
        assert total == pytest.approx(outcomes[f"expected.{name}"][n], rel=1e-5)
    assert (outcomes["expected.first"] == outcomes["expected.retrieval"]).all()
    assert (outcomes["expected.optimum"] >= outcomes["expected.last"] - 1e-9).all()
    loaded = load_outcomes(tmp_path / "day")
    assert loaded is not None
    assert all((loaded[name] == outcomes[name]).all() for name in outcomes)


def test_a_day_that_was_not_served_to_its_end_is_not_there(site: Site, tmp_path: Path) -> None:
    class Broken(Fixed):
        def best(self, *_: Any) -> list[list[str]]:
            raise RuntimeError("away")

    (day,) = site.served()
    with pytest.raises(RuntimeError, match="away"):
        serve_day(site, day, [{}] * len(day.searches), ARMS, {**RANKERS, "last": Broken(1)}, tmp_path / "day")
    assert load_outcomes(tmp_path / "day") is None


def test_days_are_joined() -> None:
    days = [{"user": np.array([1, 2])}, {"user": np.array([3])}]
    assert join(days)["user"].tolist() == [1, 2, 3]

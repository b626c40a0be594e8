"""The closed loop: simulated users search for some days; every night the models learn from what they did.

The paper's headline result is an online experiment. Nobody outside can run that one; here users are simulated
and their true preferences known, so that anybody can run one like it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.core.files import atomic_write_text
from interactrank.core.settings import ConfigError
from interactrank.experiments.loop.arms import ARMS, Arm, bm25_of
from interactrank.experiments.loop.night import FIRST, Nights
from interactrank.experiments.loop.outcomes import Outcomes, load_outcomes, serve_day
from interactrank.experiments.loop.plot import plot_loop
from interactrank.experiments.loop.report import loop_report, markdown
from interactrank.experiments.loop.site import Day, Site, requests_of
from interactrank.runs.config import RunConfig

__all__ = ["REPORT", "simulate_loop"]

logger = logging.getLogger(__name__)

REPORT, TABLE, PICTURE = "results.json", "table.md", "loop.png"


def simulate_loop(
    config: RunConfig,
    output: Path,
    *,
    days: int = 10,
    shown: int = 10,
    window: int = 14,
    continued: Sequence[str] = ("training.epochs=1",),
    arms: Sequence[Arm] = ARMS,
    server: str | None = None,
) -> dict[str, Any]:
    """Run the experiment and write its report; a start into the same folder goes on where it was stopped.

    The first days of the simulated log are as ``interactrank simulate`` writes them. All models are trained
    on them and exported. Then, for each of the last days: every arm ranks the candidates of all searches;
    each user sees the list of one arm, chosen by a hash of the user, and responds by the true preferences;
    what was shown and what became of it is appended to the one log, models train on, are exported and opened.

    Args:
        config: with a section ``simulate``; of dataset and trainings.
        output: folder of the report and of all that is made on the way.
        days: that are served, the last ones of the simulated log.
        shown: places of a list.
        window: days whose requests the nightly trainings learn from, the last ones.
        continued: settings of the nightly trainings.
        arms: of the experiment.
        server: address of ``interactrank serve``, which answers the searches; in this process when left out.

    Returns:
        The report, as written to ``results.json``.

    Raises:
        ConfigError: the config simulates nothing, stops early, or leaves no days or candidates for what is
            asked; or the folder holds another experiment.
        MissingExtraError: matplotlib is not installed.
        ServiceError: the server does not answer with the exports of last night.
    """
    site = _site(config, days, shown)
    own: dict[str, Any] = {
        "days_served": days,
        "shown": shown,
        "window_days": window,
        "continued_with": list(continued),
        "arms_served": [arm.name for arm in arms],
        "config": config.model_dump(mode="json", by_alias=True),
    }
    _claim(output, own)
    if not (output / "log" / "events.parquet").exists():
        site.write_past(output / "log")
    nights = Nights(config, output, arms, end=site.moment(days), continued=continued)
    costs = [nights.first(output / "log")]
    outcomes: list[Outcomes] = []
    before, served = FIRST, site.served()
    for day in served:
        outcomes.append(_day(site, day, config, arms, nights, output, server))
        if day is not served[-1]:
            costs.append(nights.after(day.name, before, site.moment(day.number + 1 - window)))
            before = day.name
    report = {**own, **loop_report(arms, [day.name for day in served], outcomes, costs)}
    atomic_write_text(output / REPORT, json.dumps(report, indent=1) + "\n")
    atomic_write_text(output / TABLE, markdown(report))
    plot_loop(report, output / PICTURE)
    return report


def _site(config: RunConfig, days: int, shown: int) -> Site:
    """Check what can be checked before anything takes long, and return the site."""
    if config.simulate is None:
        raise ConfigError("the config has no section simulate, whose users search; add one")
    if config.training.early_stopping is not None:
        raise ConfigError("training.early_stopping: the loop has no validation requests; set it to null")
    bm25_of(config.search)
    require("matplotlib", "report")  # before, not after, all that takes long
    return Site(config.simulate, days, shown)


def _day(
    site: Site,
    day: Day,
    config: RunConfig,
    arms: Sequence[Arm],
    nights: Nights,
    output: Path,
    server: str | None,
) -> Outcomes:
    """Serve a day, or return what an earlier start has served."""
    folder = output / "days" / day.name
    found = load_outcomes(folder)
    if found is None:
        clock = time.perf_counter()
        requests = requests_of(site, day, config.search)
        found = serve_day(site, day, requests, arms, nights.rankers(server), folder)
        took = time.perf_counter() - clock
        logger.info("%s: %s searches, %.1f s", day.name, f"{len(day.searches):,}", took)
    return found


def _claim(output: Path, own: dict[str, Any]) -> None:
    """Write what the experiment is into its folder.

    Raises:
        ConfigError: the folder holds another one.
    """
    path = output / "experiment.json"
    try:
        if json.loads(path.read_text()) != own:
            raise ConfigError(f"'{output}' holds a loop with other settings; name another --output")
    except (OSError, json.JSONDecodeError):
        atomic_write_text(path, json.dumps(own, indent=1) + "\n")

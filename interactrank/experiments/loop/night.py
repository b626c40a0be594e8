"""The night: the day's log is appended, models train on, are exported, and the new exports are opened."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from interactrank.core.files import atomic_write_text
from interactrank.core.overrides import apply_overrides
from interactrank.core.settings import parse_config
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.experiments.loop.arms import Arm, Bm25Ranker, ModelRanker, Ranker
from interactrank.experiments.loop.remote import ServiceRanker, write_service_config
from interactrank.runs.config import RunConfig
from interactrank.runs.datasets import append_to_dataset, prepare_dataset
from interactrank.runs.export import export_trained
from interactrank.runs.training import train_model
from interactrank.serving import PreRanker
from interactrank.serving.artifact import current_name

__all__ = ["FIRST", "Nights"]

logger = logging.getLogger(__name__)

FIRST = "first"  # the night before the first day: all is new

Costs = dict[str, float]
"""Step of a night -> seconds."""


class Nights:
    """What happens between the days, in this process.

    ::

        dataset/                        the log until last night
        models/MODEL/NIGHT/             run directory of what was trained in that night
        exports/ARM/                    the export that the arm is served from
        nights/NIGHT.json               the night is over; seconds of its steps

    Args:
        config: of dataset and trainings.
        output: folder of the experiment.
        arms: of the experiment.
        end: ISO 8601 moment after all days: all that is logged trains.
        continued: settings of the trainings that go on.
    """

    def __init__(
        self, config: RunConfig, output: Path, arms: Sequence[Arm], *, end: str, continued: Sequence[str]
    ) -> None:
        self._output, self._arms, self._continued = output, arms, continued
        self._config = changed(
            config,
            "schema.events.split=null",
            f"prepare.split={{test_from: '{end}'}}",
            "prepare.keep_log=true",
            "training.validate_every=null",
        )
        self.dataset = output / "dataset"

    def first(self, log: Path) -> Costs:
        """Prepare the log of the days before, train all models and export them for every arm."""

        def steps(costs: Costs) -> None:
            with timed(costs, "prepare"):
                prepare_dataset(self._config, log, self.dataset)
            for model in {arm.model: None for arm in self._arms if arm.model is not None}:
                with timed(costs, f"train {model}"):
                    train_model(self._config, self.dataset, self._model(model, FIRST), model=model)
            for arm in self._arms:
                if arm.model is not None:
                    self._export(costs, arm, FIRST)

        return self._night(FIRST, steps)

    def after(self, day: str, before: str, since: str) -> Costs:
        """Append a day's log, train on and export.

        Args:
            day: its date, the name of this night.
            before: name of the night before.
            since: moment whose requests, and all later ones, are trained on.
        """

        def steps(costs: Costs) -> None:
            with timed(costs, "append"):
                append_to_dataset(self._config, self._output / "days" / day, self.dataset)
            going_on = changed(
                self._config, f"loader.since='{since}'", "training.schedule.warmup_steps=0", *self._continued
            )
            for model in {arm.model: None for arm in self._arms if arm.model is not None and arm.trains}:
                target, start = self._model(model, day), self._model(model, before)
                with timed(costs, f"train {model}"):
                    train_model(going_on, self.dataset, target, model=model, start_from=start)
            for arm in self._arms:
                if arm.exports:
                    self._export(costs, arm, day if arm.trains else FIRST)

        return self._night(day, steps)

    def rankers(self, server: str | None = None) -> dict[str, Ranker]:
        """Open what ranks for each arm from now on.

        Args:
            server: address of a service with the exports of ``serve.yaml``, which answers for all arms but
                live ones.
        """
        config = self._output / "serve.yaml"
        if server is not None and not config.exists():
            asked = [arm.name for arm in self._arms if arm.model is not None and not arm.live]
            write_service_config(config, {name: self._export_of(name) for name in asked})
            logger.info(
                "searches go to %s; if it does not run: interactrank serve --config %s", server, config
            )
        found: dict[str, Ranker] = {}
        for arm in self._arms:
            export = self._export_of(arm.name)
            if arm.model is None:
                found[arm.name] = Bm25Ranker(PreparedDataset(self.dataset))
            elif server is None or arm.live:
                found[arm.name] = ModelRanker(PreRanker.open(export))
            else:
                version = str(current_name(export))
                found[arm.name] = ServiceRanker(server, arm.name, version, config=config)
        return found

    def _night(self, name: str, steps: Callable[[Costs], None]) -> Costs:
        done = self._output / "nights" / f"{name}.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        costs: Costs = {}
        steps(costs)
        logger.info("night %s: %.0f s", name, sum(costs.values()))
        atomic_write_text(done, json.dumps(costs) + "\n")
        return costs

    def _model(self, model: str | None, night: str) -> Path:
        return self._output / "models" / str(model) / night

    def _export_of(self, arm: str) -> Path:
        return self._output / "exports" / arm

    def _export(self, costs: Costs, arm: Arm, night: str) -> None:
        with timed(costs, f"export {arm.name}"):
            export_trained(self._model(arm.model, night), self._export_of(arm.name), data=self.dataset)


@contextmanager
def timed(costs: Costs, step: str) -> Iterator[None]:
    """Add the seconds of the block to the costs."""
    clock = time.perf_counter()
    yield
    costs[step] = round(time.perf_counter() - clock, 3)


def changed(config: RunConfig, *overrides: str) -> RunConfig:
    """Return a config with other settings."""
    values = config.model_dump(mode="json", by_alias=True)
    return parse_config(RunConfig, apply_overrides(values, list(overrides)), "settings of simulate-loop")

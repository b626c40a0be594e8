"""The whole loop on a small world: served, logged, appended, trained on, exported, and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interactrank.cli import main
from interactrank.core.settings import ConfigError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.experiments.loop import night
from interactrank.experiments.loop.arms import ARMS
from interactrank.experiments.loop.loop import simulate_loop
from interactrank.serving.artifact import current_name
from tests.experiments.loop.world import config

SOME = tuple(arm for arm in ARMS if arm.name in ("bm25", "interactrank", "frozen", "live"))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = Path(tmp_path_factory.mktemp("loop"))
    simulate_loop(config(), out, days=2, window=2, arms=SOME)
    return out


@pytest.mark.slow
def test_what_is_served_is_what_is_learnt_from(unbroken: Path) -> None:
    report = json.loads((unbroken / "results.json").read_text())
    assert [day["day"] for day in report["days"]] == ["2024-01-09", "2024-01-10"]
    searches = [day["searches"] for day in report["days"]]
    assert sum(searches) == report["engagements_per_request"]["searches"]
    # The first day is part of the dataset, the last one is not: nobody is served after it.
    dataset = PreparedDataset(unbroken / "dataset")
    past = 500 - sum(searches)
    assert dataset.num_requests("train") <= past + searches[0]
    assert len(dataset.manifest["segments"]) == 2
    for arm, versions in (("interactrank", 2), ("frozen", 1), ("live", 2)):
        folders = sorted(path.name for path in (unbroken / "exports" / arm / "versions").iterdir())
        assert len(folders) == versions
        assert current_name(unbroken / "exports" / arm) == folders[-1]
    spec = json.loads((unbroken / "models/interactrank/2024-01-09/run_spec.json").read_text())
    assert spec["started_from"] is not None
    assert spec["settings"]["loader"]["since"] == "2024-01-08T00:00:00+00:00"
    of = report["days"][0]["of"]
    # On the first day both are the same export, so that their lists are the same.
    assert of["interactrank"]["all_users"] == of["frozen"]["all_users"]
    assert of["live"]["all_users"] != of["interactrank"]["all_users"]  # clicks of the day have counted
    assert of["optimum"]["all_users"]["value"] > of["interactrank"]["all_users"]["value"]
    assert (unbroken / "table.md").read_text().startswith("# The closed loop: 2 days")
    assert (unbroken / "loop.png").stat().st_size > 10_000
    assert str(unbroken) not in (unbroken / "results.json").read_text()


@pytest.mark.slow
def test_who_is_killed_goes_on_where_it_stopped(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = night.export_trained, []

    def killed_in_the_first_night(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 4:  # after those before the first day
            raise KeyboardInterrupt
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(night, "export_trained", killed_in_the_first_night)
    with pytest.raises(KeyboardInterrupt):
        simulate_loop(config(), tmp_path, days=2, window=2, arms=SOME)
    assert not (tmp_path / "results.json").exists()
    monkeypatch.setattr(night, "export_trained", real)
    simulate_loop(config(), tmp_path, days=2, window=2, arms=SOME)
    first, again = (json.loads((folder / "results.json").read_text()) for folder in (unbroken, tmp_path))
    assert {**first, "nights": None} == {**again, "nights": None}
    for name in ("log", "days/2024-01-09", "days/2024-01-10"):
        events = [(folder / name / "events.parquet").read_bytes() for folder in (unbroken, tmp_path)]
        assert events[0] == events[1]


@pytest.mark.slow
def test_a_second_start_does_nothing_twice(unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (unbroken / "results.json").read_text()
    monkeypatch.setattr(night, "train_model", None)
    monkeypatch.setattr(night, "append_to_dataset", None)
    simulate_loop(config(), unbroken, days=2, window=2, arms=SOME)
    assert (unbroken / "results.json").read_text() == before
    with pytest.raises(ConfigError, match="holds a loop with other settings; name another --output"):
        simulate_loop(config(), unbroken, days=3, window=2, arms=SOME)


def test_what_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no section simulate"):
        simulate_loop(config("simulate=null"), tmp_path)
    stopping = config("training.validate_every=1", "training.early_stopping={metric: mrr, patience: 2}")
    with pytest.raises(ConfigError, match="early_stopping: the loop has no validation requests"):
        simulate_loop(stopping, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_verb_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-loop", "--tiny", "--shown", "99", "--output", str(tmp_path / "loop")]) == 1
    assert "fewer than the 99 places of a list; lower --shown" in capsys.readouterr().err
    assert not (tmp_path / "loop").exists()

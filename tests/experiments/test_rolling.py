"""Rolling evaluation: each day is tested by models that have not seen it, from nothing and going on."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from interactrank.cli import main
from interactrank.core.settings import ConfigError
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.experiments import rolling
from interactrank.experiments.days import cut_into_days
from interactrank.experiments.rolling import markdown, roll
from tests.data import logs
from tests.trained import config

SETTINGS = config("training.steps=null", "training.epochs=2", "loader.batch_requests=8")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 6 days."""
    folder = Path(tmp_path_factory.mktemp("log"))
    return logs.write_log(folder, *logs.random_log(3, requests=60, days=6))


def test_days_are_cut_without_loss(log: Path, tmp_path: Path) -> None:
    names = cut_into_days(log, tmp_path / "days", SETTINGS.search, 2)
    assert names == ["2024-01-05", "2024-01-06"]
    parts = [pq.read_table(tmp_path / "days" / n / "events.parquet") for n in names]
    whole = pq.read_table(log / "events.parquet")
    assert sum(map(len, parts)) == len(whole)
    times = [p["timestamp"].to_numpy() for p in parts]
    assert times[0].max() < logs.START + 5 * logs.DAY <= times[1].min()
    assert (tmp_path / "days" / names[0] / "items.parquet").exists()
    with pytest.raises(DatasetError, match="has events of 6 days; to test on 6 it needs more"):
        cut_into_days(log, tmp_path / "days", SETTINGS.search, 6)


def test_roll(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "roll"
    report = roll(SETTINGS, log, out, days=3, continued=["training.epochs=1"])
    assert [d["day"] for d in report["days"]] == ["2024-01-04", "2024-01-05", "2024-01-06"]
    first, second, third = report["days"]
    assert first["full"]["metrics"] == first["continued"]["metrics"]  # one model
    for day in (second, third):
        # Twice all days before, against once the day before.
        assert 0 < day["continued"]["steps"] < day["full"]["steps"] / 2
        weights = [
            (out / way / day["day"] / "model.safetensors").read_bytes() for way in ("full", "continued")
        ]
        assert weights[0] != weights[1]
    dataset = PreparedDataset(out / "dataset")
    assert dataset.num_requests("test") == third["requests"]
    test = dataset.read("test", ["time"])["time"].to_numpy()
    train = dataset.read("train", ["time"])["time"].to_numpy()
    assert train.max() < logs.START + 5 * logs.DAY <= test.min()
    spec = json.loads((out / "continued" / "2024-01-06" / "run_spec.json").read_text())
    assert spec["settings"]["loader"]["since"] == "2024-01-05"
    assert spec["started_from"] is not None
    total = report["total"]
    assert total["full"]["steps"] == second["full"]["steps"] + third["full"]["steps"]
    difference = total["continued"]["metrics"]["mrr"] - total["full"]["metrics"]["mrr"]
    assert total["continued_minus_full"]["mrr"]["difference"] == pytest.approx(difference)
    page = (out / "rolling.md").read_text()
    assert page == markdown(report)
    assert "| 2024-01-06 |" in page
    monkeypatch.setattr(rolling, "train_model", None)  # nothing is trained again
    again = roll(SETTINGS, log, out, days=3, continued=["training.epochs=1"])
    assert again == report
    with pytest.raises(ConfigError, match="holds a roll with other settings"):
        roll(SETTINGS, log, out, days=2)


def test_one_day_is_a_model_alone(log: Path, tmp_path: Path) -> None:
    report = roll(config("training.steps=1"), log, tmp_path / "roll", days=1)
    assert report["total"] == {}
    assert "going on minus" not in (tmp_path / "roll" / "rolling.md").read_text()


def test_the_verb_says_what_is_wrong(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = config("training.validate_every=1", "training.early_stopping={metric: mrr, patience: 2}")
    (tmp_path / "c.yaml").write_text(stopping.dump())
    arguments = [str(tmp_path / "c.yaml"), "--data", str(log), "--output", str(tmp_path / "roll")]
    assert main(["roll", *arguments]) == 1
    assert "training.early_stopping: roll has no validation requests" in capsys.readouterr().err

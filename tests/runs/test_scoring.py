"""Rows of one's own get the scores that evaluate computes, and their parts add up."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from interactrank.cli import main
from interactrank.data.errors import DatasetError
from interactrank.data.prepared.dataset import PreparedDataset
from interactrank.evaluation.scorers import ModelScorer
from interactrank.runs.datasets import prepare_dataset
from interactrank.runs.run_directory import open_model
from interactrank.runs.scoring import score_rows
from interactrank.runs.training import train_model
from tests.data import logs
from tests.models.search import requests
from tests.trained import config, raw_log

IN_THE_LOG = ("click", "save", "event_time", "split", "position")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with log, prepared and two models."""
    folder = Path(tmp_path_factory.mktemp("score"))
    settings = config("training.steps=12", "model.cross_features.hidden_dims=[4]")
    prepare_dataset(settings, raw_log(folder / "log"), folder / "prepared")
    train_model(settings, folder / "prepared", folder / "model")
    early = config("training.steps=2", "models=[early_interaction]")
    train_model(early, folder / "prepared", folder / "early", model="early_interaction")
    return folder


def rows_of(trained: Path, ids: list[str]) -> pa.Table:
    """The rows of some requests in the log, without what became of them."""
    events = pq.read_table(trained / "log" / "events.parquet")
    kept = np.isin(np.array(events["request_id"].to_pylist()), ids)
    return events.filter(pa.array(kept)).drop_columns(list(IN_THE_LOG))


def scored(trained: Path, rows: pa.Table, model: str = "model", **options: bool) -> pa.Table:
    pq.write_table(rows, trained / "rows.parquet")
    out = trained / "scores.parquet"
    score_rows(trained / model, trained / "prepared", trained / "rows.parquet", out, **options)
    return pq.read_table(out)


@pytest.mark.parametrize("model", ["model", "early"])
def test_scores_are_those_of_evaluate(trained: Path, model: str) -> None:
    log = PreparedDataset(trained / "prepared")
    test = requests(log, "test")
    ids = log.read("test", ["request_id"])["request_id"].to_pylist()
    rows = rows_of(trained, ids)
    rows = rows.take(np.random.default_rng(0).permutation(len(rows)))  # in any order
    found = scored(trained, rows, model)
    opened = open_model(trained / model, log)[1]
    expected = {}
    for head, name in enumerate(log.schema.head_names):
        candidates = test.positions("candidates")
        values = ModelScorer(opened, log, head, torch.device("cpu"))(test, candidates).numpy()
        of = np.repeat(np.array(ids), candidates.lengths)
        for request, item, value in zip(of, candidates.values, values, strict=True):
            expected[name, request, log.items.ids[item]] = value
    assert len(found) == len(rows) > 20
    assert found["request"].to_pylist() == rows["request_id"].to_pylist()
    assert found["item"].to_pylist() == rows["item_id"].to_pylist()
    for name in log.schema.head_names:
        keys = zip(found["request"].to_pylist(), found["item"].to_pylist(), strict=True)
        wanted = np.array([expected[(name, *key)] for key in keys])
        assert np.abs(found[f"score.{name}"].to_numpy() - wanted).max() < 1e-6
    assert found["score"].equals(found[f"score.{log.schema.head_names[0]}"])


@pytest.mark.parametrize("model", ["model", "early"])
def test_parts_add_up_and_values_are_the_features(trained: Path, model: str) -> None:
    log = PreparedDataset(trained / "prepared")
    ids = log.read("test", ["request_id"])["request_id"].to_pylist()
    found = scored(trained, rows_of(trained, ids), model, explain=True)
    parts = [found[c].to_numpy() for c in found.column_names if c.startswith("part.")]
    assert np.abs(sum(parts) - found["score"].to_numpy()).max() < 1e-5
    assert ("part.interaction" in found.column_names) == (model == "early")
    opened = open_model(trained / model, log)[1]
    assert {f"part.{name}" for name in opened.score_head.reads} <= set(found.column_names)
    test = requests(log, "test")
    candidates = test.positions("candidates")
    name = next(f.name for f in log.cross.features if f.settings.kind == "bm25")
    values = log.cross.look_up_one(name, test.keys(), candidates)
    of = np.repeat(np.array(ids), candidates.lengths)
    items = np.array(log.items.ids)[candidates.values]
    expected = dict(zip(zip(of, items, strict=True), values, strict=True))
    got = zip(found["request"].to_pylist(), found["item"].to_pylist(), strict=True)
    assert [expected[key] for key in got] == found[f"value.{name}"].to_pylist()


def test_users_and_queries_that_the_log_does_not_know(trained: Path) -> None:
    row = logs.event("new", "nobody", "never asked", "i3", 5 * 365 * 1440)
    again = row | {"item_id": "i4"}
    found = scored(trained, logs.table([row, again, row]))
    assert found["row"].to_pylist() == [0, 1, 2]  # a row that repeats is scored as often
    assert found["item"].to_pylist() == ["i3", "i4", "i3"]
    assert np.isfinite(found["score"].to_numpy()).all()
    assert found["score"][0] == found["score"][2] != found["score"][1]


def test_a_request_of_the_past_sees_its_past_alone(trained: Path) -> None:
    log = PreparedDataset(trained / "prepared")
    first = rows_of(trained, log.read("train", ["request_id"])["request_id"].to_pylist()[:1])
    found = scored(trained, first, explain=True)
    supports = [c for c in found.column_names if c.startswith("support.")]
    assert supports
    assert all(set(found[c].to_pylist()) == {0.0} for c in supports)


def test_rows_that_cannot_be_scored(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [logs.event("r", "u1", "red hat", name, 100) for name in ("i1", "unknown", "i2")]
    rows.append(logs.event("r", "u1", "", "i2", 100))
    found = scored(trained, logs.table(rows))
    assert found["row"].to_pylist() == [0, 2]
    assert "not scored: 1 rows: item_id not in items" in caplog.text
    assert "not scored: 1 rows: null or empty query" in caplog.text
    (trained / "scores.parquet").unlink()
    with pytest.raises(DatasetError, match=r"1 x item_id not in items.* without --strict"):
        scored(trained, logs.table(rows), strict=True)
    assert not (trained / "scores.parquet").exists()
    with pytest.raises(DatasetError, match=r"no row can be scored: 1 x item_id not in items"):
        scored(trained, logs.table(rows[1:2]))


def test_what_is_not_there_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = logs.table([logs.event("r", "u1", "red", "i1", 100)])
    with pytest.raises(DatasetError, match="no column 'session_id'"):
        scored(trained, rows.drop_columns(["session_id"]))
    arguments = ["score", str(trained / "model"), "--dataset", str(trained / "prepared")]
    arguments += ["--output", str(trained / "no.parquet"), "--data", str(trained / "nothing")]
    assert main(arguments) == 1
    assert "nor a folder with some" in capsys.readouterr().err
    assert not (trained / "no.parquet").exists()

"""What the Spark engine refuses before it reads anything, in one line; Spark itself is not needed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interactrank.cli import main
from interactrank.data.errors import DatasetError
from interactrank.data.raw.files import find_files
from interactrank.data.raw.place import Place
from interactrank.data.raw.table import RawTable
from interactrank.data.settings import PrepareSettings
from interactrank.data.spark.session import reason_of
from interactrank.data.spark.subset import check_columns, check_files, check_subset
from tests import own_feature  # registers a kind
from tests.data.logs import schema


def test_settings_that_need_one_machine_are_named_together() -> None:
    settings = PrepareSettings(keep_log=True, max_events_per_user_day=9)
    with pytest.raises(DatasetError, match=r"keep_log.*max_events_per_user_day.*use --engine local"):
        check_subset(schema(), settings)
    of_train = PrepareSettings.model_validate({"split": {"validation_of_train": 0.1}})
    with pytest.raises(DatasetError, match="validation_of_train"):
        check_subset(schema(), of_train)
    check_subset(schema(), PrepareSettings())


def test_cross_features_of_ones_own() -> None:
    own = schema("cross_features=[{kind: hours_since, engagement: click}]")
    assert own_feature.HoursSince.Settings is not None
    with pytest.raises(DatasetError, match=r"one's own \(hours_since\)"):
        check_subset(own, PrepareSettings())


def test_files_that_differ(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "events" / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "events" / "2.parquet")
    with duckdb.connect() as db:
        table = RawTable.of(db, find_files(Place.of(tmp_path), "events"), "events", ["a"])
        with pytest.raises(DatasetError, match=r"1\.parquet' and .*2\.parquet' have other columns or types"):
            check_files(table)


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("c_when", pa.timestamp("us"), "column 'when' holds timestamp"),
        ("c_big", pa.uint64(), "column 'big' holds uint64"),
        ("c_a.b", pa.int64(), "column 'a.b', whose name has a dot"),
    ],
)
def test_columns_that_spark_would_change(name: str, kind: pa.DataType, why: str) -> None:
    with pytest.raises(DatasetError, match=why):
        check_columns(pa.schema([(name, kind)]))
    check_columns(pa.schema([("c_ids", pa.list_(pa.int32())), ("query", pa.string())]))


def test_options_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["prepare", "examples/configs/bestbuy.yaml", "--data", str(tmp_path)]
    assert main([*base, "--output", str(tmp_path / "o"), "--engine", "spark"]) == 1
    assert "--engine spark and --master URL go together" in capsys.readouterr().err
    assert main([*base, "--append", str(tmp_path), "--engine", "spark", "--master", "local[1]"]) == 1
    assert "--append works on one machine" in capsys.readouterr().err


def test_an_error_of_an_executor_is_one_line() -> None:
    text = "An exception\nTraceback:\n  x\ninteractrank.data.errors.DatasetError: 'e': no rows\n\n\tat java"
    assert reason_of(text) == "'e': no rows"
    assert reason_of("Job aborted\nTraceback\nOSError: disk full\n\tat org.apache") == (
        "Spark: an executor failed: OSError: disk full"
    )
    assert reason_of("Connection refused\n\tat java.net") == "Spark: Connection refused"

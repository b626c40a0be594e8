"""The Spark session: started for a master, its executors looked at, and its errors told in one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interactrank.core.extras import require
from interactrank.data.errors import DatasetError
from interactrank.version import __version__

__all__ = ["open_session"]

CONFIG = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",
    "spark.log.level": "ERROR",
}
_PACKAGES = ("interactrank", "pyarrow", "duckdb", "numpy", "bm25s")


@contextmanager
def open_session(master: str, config: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Start Spark, or take the session that runs, for the block.

    Args:
        master: such as ``local[4]``, ``yarn`` or ``spark://host:7077``.
        config: further settings of Spark.

    Raises:
        MissingExtraError: PySpark is not installed.
        DatasetError: Java or the master is missing, or an executor lacks a package; or a step fails, with the
            reason that an executor gave.
    """
    sql = require("pyspark.sql", "spark")
    running = sql.SparkSession.getActiveSession()
    if running is None:
        running = _start(sql, master, {**CONFIG, **_of_this_machine(master), **(config or {})})
        stop = True
    else:
        stop = False
    try:
        with one_line():
            _check_executors(running)
            yield running
    finally:
        if stop:
            running.stop()


def _start(sql: Any, master: str, config: Mapping[str, str]) -> Any:
    builder = sql.SparkSession.builder.master(master).appName("interactrank prepare")
    for name, value in config.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"Spark did not start with --master '{master}': {told}; it needs Java 17 or newer "
            "(java on the PATH, or JAVA_HOME) and a master that can be reached"
        ) from None


def _of_this_machine(master: str) -> dict[str, str]:
    """Return settings by which executors on this machine run this interpreter and find this package."""
    if not master.startswith("local"):
        return {}
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark has no setting for it
    here = str(Path(__file__).parents[3])
    path = os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH", "")) if p)
    return {"spark.executorEnv.PYTHONPATH": path}


def _check_executors(spark: Any) -> None:
    """Look on all executors for what they need.

    Raises:
        DatasetError: one lacks a package, or has another version of this one.
    """
    wanted, version = _PACKAGES, __version__

    def look(_: Any) -> tuple[str, str, str]:  # sent by value: an executor may lack the package
        import importlib
        import socket

        try:
            for name in wanted:
                importlib.import_module(name)
            found = importlib.import_module("interactrank.version").__version__
        except ImportError as error:
            return socket.gethostname(), sys.executable, str(error)
        return socket.gethostname(), sys.executable, "" if found == version else f"interactrank {found}"

    tasks = 4 * spark.sparkContext.defaultParallelism
    for host, python, problem in spark.sparkContext.parallelize(range(tasks), tasks).map(look).collect():
        if problem:
            raise DatasetError(
                f"the executor on '{host}' cannot take part: {problem}; its Python is '{python}', and needs "
                f"interactrank {version} with the extra 'data': install it there, or name another Python by "
                "PYSPARK_PYTHON"
            )


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error of Spark into one line.

    Raises:
        DatasetError: a step failed.
    """
    py4j = require("py4j.protocol", "spark").Py4JError
    known = require("pyspark.errors", "spark").PySparkException
    try:
        yield
    except (py4j, known) as error:
        raise DatasetError(reason_of(str(error))) from None


def reason_of(text: str) -> str:
    """Return the error of this package in the text of one of Spark; else its last line of Python, or first.

    Example::

        >>> reason_of("Job aborted\\nTraceback\\ninteractrank.data.errors.DatasetError: no 'x'\\n\\tat java")
        "no 'x'"
        >>> reason_of("Connection refused\\n\\tat java.net")
        'Spark: Connection refused'
    """
    ours = re.findall(r"^interactrank\.[\w.]+: (.*)", text, re.MULTILINE)
    if ours:
        return str(ours[-1])
    python = re.findall(r"^([\w.]*(?:Error|Exception)): (.*)", text, re.MULTILINE)
    if python:
        return f"Spark: an executor failed: {': '.join(python[-1])}"
    return f"Spark: {text.strip().splitlines()[0] if text.strip() else 'failed without a reason'}"

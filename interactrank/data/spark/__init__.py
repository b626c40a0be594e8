"""prepare on Spark: rows move between executors, and the code of one machine runs on each partition."""

from interactrank.data.spark.prepare import prepare_on_spark

__all__ = ["prepare_on_spark"]

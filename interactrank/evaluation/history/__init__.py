"""What the histories of a dataset hold: coverage, concentration, drift, and who looks like a bot."""

from interactrank.evaluation.history.report import history_report, write_report

__all__ = ["history_report", "write_report"]

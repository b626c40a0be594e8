"""Metrics of a service for Prometheus; with several workers, of all of them together."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["FOLDER", "Metrics"]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder that the workers share; the supervisor sets it before they start."""
_SECONDS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)


class Metrics:
    """What a worker counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "interactrank_requests", "requests", ["path", "status"], registry=self._registry
        )
        self.answers = Counter(
            "interactrank_answers", "rankings by model and version", ["model", "version"],
            registry=self._registry,
        )  # fmt: skip
        self.degraded = Counter(
            "interactrank_degraded", "rankings without cross features", ["model"], registry=self._registry
        )
        self.events = Counter("interactrank_events", "events that were kept", registry=self._registry)
        self.seconds = Histogram(
            "interactrank_request_seconds", "from the headers to the answer", ["path"],
            registry=self._registry, buckets=_SECONDS,
        )  # fmt: skip
        self.stages = Histogram(
            "interactrank_stage_seconds", "of a ranking by stage", ["stage"],
            registry=self._registry, buckets=_SECONDS,
        )  # fmt: skip
        self._of_stage: dict[str, Histogram] = {}
        self.waiting = Gauge(
            "interactrank_waiting", "requests in the queues", registry=self._registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.swaps = Counter(
            "interactrank_swaps", "versions that were switched to, or refused", ["model", "result"],
            registry=self._registry,
        )  # fmt: skip

    def count_stages(self, stages: Mapping[str, float]) -> None:
        """Count the seconds of each stage of a request."""
        for stage, seconds in stages.items():
            if stage not in self._of_stage:
                self._of_stage[stage] = self.stages.labels(stage)
            self._of_stage[stage].observe(seconds)

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)

"""Search logs with impressions whose truth is known, of any size at constant memory."""

from interactrank.data.simulator.settings import SimulationSettings
from interactrank.data.simulator.write import SimulationSummary, simulate

__all__ = ["SimulationSettings", "SimulationSummary", "simulate"]

"""The registry of metrics: one's own is measured, compared and shown like those of the package."""

import numpy as np
import pytest

from interactrank.core.registry import RegistryError
from interactrank.evaluation.metrics import (
    METRICS,
    ProbabilityMetric,
    RankMetric,
    ranking_metrics,
    register_metric,
)
from interactrank.evaluation.metrics.registry import (
    columns,
    headline,
    higher_is_better,
    probability_metrics,
    shown_name,
)


@pytest.fixture
def registered():
    names = []

    def register(**options):
        names.append(options["name"])
        return register_metric(RankMetric(**options))

    yield register
    for name in names:
        METRICS.remove(name)


def worst_place(ranks):
    """The rank of the last relevant candidate."""
    worst = np.full(ranks.num_requests, np.nan)
    worst[ranks.request] = ranks.rank
    return worst


def test_own_metric__is_measured_and_knows_its_direction(registered):
    registered(name="depth", title="Depth", compute=worst_place, higher_is_better=False, headline=True)
    frame = ranking_metrics([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], [4], ks=[3])
    assert frame["depth"].tolist() == [3]
    assert headline(columns([3])) == ["hit@3", "mrr", "auc", "depth"]
    assert (higher_is_better("depth"), shown_name("depth")) == (False, "Depth")


def test_own_metric__has_cut_offs_of_its_own_or_those_of_the_run(registered):
    registered(name="own", title="Own", compute=lambda r, k: worst_place(r) / k, ks=(2, 4), headline=(4,))
    registered(name="all", title="All", compute=lambda r, k: worst_place(r) / k, ks="settings", headline=True)
    assert columns([3])[-4:] == ["map", "own@2", "own@4", "all@3"]
    assert headline(columns([3]))[-2:] == ["own@4", "all@3"]
    assert shown_name("own@4") == "Own@4"


def test_own_metric__of_another_shape_is_named(registered):
    registered(name="mean", title="Mean", compute=lambda ranks: np.array(0.5))
    with pytest.raises(ValueError, match=r"metric 'mean' gave an array of shape \[\]; one value"):
        ranking_metrics([0.9], [1], [1], ks=[1])


def test_register__what_is_refused():
    with pytest.raises(RegistryError, match="metric 'mrr' is registered already"):
        register_metric(RankMetric(name="mrr", title="MRR", compute=worst_place))
    with pytest.raises(ValueError, match="metric 'x': cut-off 0 is not allowed"):
        register_metric(RankMetric(name="x", title="X", compute=worst_place, ks=(0,)))
    with pytest.raises(ValueError, match="metric 'x' has no cut-offs; headline must be True or False"):
        register_metric(RankMetric(name="x", title="X", compute=worst_place, headline=(3,)))
    assert "x" not in METRICS


def test_names__of_columns_that_no_metric_has():
    assert (higher_is_better("unknown@3"), shown_name("unknown@3")) == (True, "unknown@3")
    assert headline(["unknown", "map"]) == []
    assert [metric.name for metric in probability_metrics()] == ["ne", "calibration", "pr_auc"]
    assert isinstance(METRICS["ne"], ProbabilityMetric)

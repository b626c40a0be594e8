"""The report of an ablation: means over seeds, tests and their correction, findings."""

import json

import numpy as np
import pytest

from interactrank.evaluation.metric_frame import average_frames
from interactrank.evaluation.stats.bootstrap import bootstrap_intervals
from interactrank.evaluation.stats.paired import compare_paired
from interactrank.experiments.report import ablation_report
from tests.experiments.reports import DATA, REQUESTS, report, table, variants
from tests.trained import config


def test_values_are_means_over_the_seeds_and_every_seed_is_there():
    full = report()["models"]["full"]
    assert full["metrics"]["hit@3"]["value"] == pytest.approx(0.8)
    assert {seed: m["hit@3"] for seed, m in full["seeds"].items()} == {"0": 0.78, "1": 0.82}
    # 80 hits and 20 requests at rank 5: (80 + 20 / 5) / 100
    assert full["metrics"]["mrr"]["value"] == pytest.approx(0.84)
    assert report()["models"]["bm25"]["seeds"].keys() == {"0"}


def test_intervals_and_tests_are_those_of_the_means_over_seeds():
    found = report()
    full, plain = (average_frames([table(h - 2), table(h + 2)]) for h in (80, 50))
    draws = {"resamples": 100, "seed": 0}
    expected = bootstrap_intervals(full, ["hit@3"], **draws)["hit@3"]
    assert found["models"]["full"]["metrics"]["hit@3"] == expected._asdict()
    pair = compare_paired(full, plain, ["hit@3"], **draws)["hit@3"]
    got = found["paired"]["full - plain_two_tower"]["hit@3"]
    assert (got["difference"], got["low"], got["high"]) == (pair.difference, pair.low, pair.high)
    assert got["p_value"] == pair.p_value
    assert got["difference"] == pytest.approx(0.3)


def test_whole_users_are_drawn_where_users_are_given():
    """Four users of 25 requests each, all alike: the mean of a user hardly tells anything."""
    users = np.repeat(np.arange(4), REQUESTS // 4)
    of = {
        how: report(users=by)["models"]["full"]["metrics"]["hit@3"] for how, by in (("r", None), ("u", users))
    }
    width = {how: found["high"] - found["low"] for how, found in of.items()}
    assert width["u"] > 2 * width["r"]
    assert report(users=users)["settings"]["resampled"] == "users"


def test_what_is_tested_and_corrected():
    found = report()
    assert list(found["paired"]) == [
        "plain_two_tower - bm25",
        "full - plain_two_tower",
        "full - bm25",
        "full - full_without_mask_net",
        "full - full_without_iqp",
    ]
    assert found["settings"]["tests"] == 5
    p = {pair: metrics["hit@3"] for pair, metrics in found["paired"].items()}
    last = p.pop("full - full_without_mask_net")
    # Four differences of 30 hits and more are as clear as 9,999 draws can say; the first of them times 5.
    assert [m["p_value"] for m in p.values()] == [1e-4] * 4
    assert [m["p_holm"] for m in p.values()] == pytest.approx([5e-4] * 4)
    assert last["p_holm"] == last["p_value"] > 0.1  # the largest is the last, times 1


def test_the_difference_of_each_seed():
    """Seeds hit 2 fewer and 2 more: full 78 and 82, the two-tower 48 and 52, BM25 20 whatever the seed."""
    paired = report()["paired"]
    assert paired["full - plain_two_tower"]["hit@3"]["seeds"] == pytest.approx([0.3, 0.3])
    assert paired["full - bm25"]["hit@3"]["seeds"] == pytest.approx([0.58, 0.62])
    base = config()
    models = variants(base, "plain_two_tower", "full")
    tables = {"plain_two_tower": {0: table(50), 2: table(60)}, "full": {1: table(80), 2: table(70)}}
    found = ablation_report(base, models, tables, users=None, data=DATA)
    assert found["paired"]["full - plain_two_tower"]["hit@3"]["seeds"] == pytest.approx([0.1])


def test_findings_follow_from_the_numbers():
    says = {f["paper"].split(" (")[0]: f["verdict"] for f in report()["findings"]}
    assert says["InteractRank ranks better than BM25"] == "agrees"
    assert says["The cross features"] == "agrees"
    assert says["The user sequence helps"] == "not tested"
    assert (
        says["Feature crossing by a parallel MaskNet, a part of both towers, helps"] == "no difference shown"
    )
    turned = report(
        hits={"plain_two_tower": 80, "full": 50, "full_without_iqp": 90, "full_without_mask_net": 50}
    )
    says = {f["pair"]: f["verdict"] for f in turned["findings"] if f["pair"]}
    assert says["full - plain_two_tower"] == says["full - full_without_iqp"] == "disagrees"
    assert says["full - full_without_mask_net"] == "no difference shown"


def test_a_model_without_a_table_is_left_out_and_said():
    base = config()
    models = variants(base, "plain_two_tower", "full", "full_without_iqp")
    tables = {"plain_two_tower": {0: table(50)}, "full_without_iqp": {1: table(60)}}
    failed = {"full, seed 0": "no memory"}
    found = ablation_report(base, models, tables, users=None, data=DATA, failed=failed)
    assert list(found["models"]) == ["plain_two_tower", "full_without_iqp"]
    assert found["models"]["full_without_iqp"]["compared_with"] is None
    assert found["paired"] == {}
    assert {f["verdict"] for f in found["findings"]} == {"not tested"}
    assert found["failed"] == failed


def test_it_is_json_without_nan_and_names_what_it_is_of():
    found = report(optimum=table(95))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["models"]["full"]["metrics"]["auc"]["value"] is None  # not defined for any request
    assert found["optimum"]["hit@3"] == 0.95
    assert found["settings"]["config"]["model"]["dim"] == 8
    assert {"torch", "torchrec"} <= found["versions"].keys()

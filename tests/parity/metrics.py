"""Adapters of the metrics in ``interactrank.evaluation``."""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.evaluation.metrics.auc import pr_auc, request_level_auc, roc_auc
from interactrank.evaluation.metrics.binned_auc import (
    binned_counts,
    binned_pr_auc,
    binned_roc_auc,
    binned_roc_pr_auc,
)
from interactrank.evaluation.metrics.recall import corpus_outranking, count_outranking, recall_at_k
from tests.parity.case import Case


def binned_auc(case: Case) -> dict[str, Tensor]:
    thresholds = case.params["num_thresholds"]
    data = [case[f"in.{name}"] for name in ("preds", "labels", "weights")]
    half = len(data[0]) // 2
    parts = [
        binned_counts(*(x[rows] for x in data), num_thresholds=thresholds, inclusive=False)
        for rows in (slice(half), slice(half, None))
    ]
    both = parts[0] + parts[1]
    strict = {"num_thresholds": thresholds, "inclusive": False}
    areas = {
        "module_{}": binned_roc_pr_auc(*data, **strict),
        "module_{}_unweighted": binned_roc_pr_auc(*data[:2], **strict),
        "module_{}_two_batches": (binned_roc_auc(both), binned_pr_auc(both)),
        "accumulator_{}": binned_roc_pr_auc(*data, num_thresholds=thresholds),
    }
    values = {}
    for name, (roc, pr) in areas.items():
        values |= {f"out.{name.format('ROC')}": roc.float(), f"out.{name.format('PR')}": pr.float()}
    if "out.exact_ROC" in case:
        values["out.exact_ROC"] = torch.tensor(roc_auc(*data))
        values["out.exact_average_precision"] = torch.tensor(pr_auc(*data))
        case.leave_out("a trapezoid over precision and recall overstates the area", "out.exact_PR_trapezoid")
    return {name: value for name, value in values.items() if name in case}


def recall(case: Case) -> dict[str, Tensor]:
    keep = case["in.label"] > 0
    ranks = corpus_outranking(
        case["in.viewer"][keep],
        case["in.entity"][keep],
        case["in.entity_id"][keep],
        case["in.corpus"],
        case["in.corpus_id"],
    )
    found, error = recall_at_k(ranks, case["in.ks"].tolist())
    logits = case["in.logit_matrix"]
    among, _ = recall_at_k(count_outranking(logits[:, 0], logits[:, 1:]), case["in.logit_ks"].tolist())
    return {"out.ranks": ranks, "out.recall": found, "out.p95_err": error, "out.logit_recall": among}


def request_auc(case: Case) -> dict[str, Tensor]:
    order = torch.sort(case["in.request_id"], stable=True).indices
    _, lengths = case["in.request_id"].unique(return_counts=True)
    scores, labels = case["in.score"][order], case["in.label"][order]
    exact = torch.tensor(request_level_auc(scores, labels, lengths, weighting="pair", tie_credit=0.0))
    if len(scores) > case.params["stride"]:
        case.leave_out("ours is exact; the reference loses pairs across blocks of rows", "out.value")
    return {"out.value": exact, "out.exact_all_pairs": exact}


ADAPTERS = {"binned_auc": binned_auc, "recall_at_k": recall, "request_level_auc": request_auc}

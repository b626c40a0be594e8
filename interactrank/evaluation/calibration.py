r"""Are the predicted probabilities right? Normalised entropy and calibration, through ``torchrec.metrics``.

- ne: cross entropy of the predictions over that of always predicting the base rate (He et al., ADKDD 2014);
  below 1 the model knows more than the base rate, lower is better.
- calibration: sum of predictions over sum of labels; 1 is right, above 1 too optimistic.
- ctr: the base rate itself, weighted like the others.

The state is a few sums, so ranks may hold any number of rows, none included. What ``torchrec.metrics`` leaves
to its caller is done here: double precision of the sums, lifetime values (its windows are global and in
batches), every rank computes, and a head whose labels are all alike has no entropy to compare with, so its
``ne`` is NaN instead of 1e11.

Shapes: C candidates (any number per call), H heads.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torchrec.metrics.calibration import CalibrationMetric
from torchrec.metrics.ctr import CTRMetric
from torchrec.metrics.metrics_config import RecTaskInfo
from torchrec.metrics.ne import NEMetric

__all__ = ["CalibrationMeter"]

_METRICS = {"ne": NEMetric, "calibration": CalibrationMetric, "ctr": CTRMetric}


class CalibrationMeter:
    """Collects predictions of all ranks and gives normalised entropy and calibration per head.

    Args:
        heads: names of the H heads.
        group: the process group whose ranks are summed; the default one, or this process alone, when left
            out.

    Raises:
        ValueError: no head, or two of one name.

    Example::

        >>> meter = CalibrationMeter(heads=["click"])
        >>> meter.update(torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0], [0.0]]))
        >>> meter.compute()
        {'click': {'ne': 1.0, 'calibration': 1.0, 'ctr': 0.5}}
    """

    def __init__(self, *, heads: Sequence[str], group: dist.ProcessGroup | None = None) -> None:
        if not heads or len(set(heads)) != len(heads):
            raise ValueError(f"heads {list(heads)} are not allowed; name at least one, each once")
        self._heads = list(heads)
        running = dist.is_available() and dist.is_initialized()
        world_size = dist.get_world_size(group) if running else 1
        tasks = [
            RecTaskInfo(name=head, label_name="label", prediction_name="prediction", weight_name="weight")
            for head in self._heads
        ]
        self._metrics = {
            name: metric(
                world_size=world_size,
                my_rank=dist.get_rank(group) if running else 0,
                batch_size=1,
                tasks=tasks,
                window_size=world_size,
                compute_on_all_ranks=True,
                process_group=group,
            )
            for name, metric in _METRICS.items()
        }
        for metric in self._metrics.values():
            for computation in metric._metrics_computations:
                # A rank without new rows would answer from its cache and leave the others waiting for it.
                computation.compute_with_cache = False

    def update(
        self, predictions: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
    ) -> None:
        """Adds a batch of this rank.

        Args:
            predictions: [C, H] probabilities in [0, 1].
            labels: [C, H] in [0, 1].
            weights: [C, H], 0 or more; 1 when left out.

        Raises:
            ValueError: shapes that differ or are not [C, H], a prediction or label outside [0, 1], a negative
                weight.
        """
        shape = (len(predictions), len(self._heads))
        weights = torch.ones_like(predictions) if weights is None else weights
        for name, tensor, top in (
            ("predictions", predictions, 1.0),
            ("labels", labels, 1.0),
            ("weights", weights, float("inf")),
        ):
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"{name} has shape {list(tensor.shape)}; {list(shape)} is needed: [C, heads]"
                )
            outside = ~((tensor >= 0) & (tensor <= top))
            if outside.any():
                row, head = outside.nonzero()[0].tolist()
                raise ValueError(
                    f"{name} of head {self._heads[head]!r}, row {row}, is {tensor[row, head]}; "
                    f"allowed are 0..{top:g}"
                )
        if len(predictions) == 0:
            return
        by_head = [
            {head: tensor.detach().cpu().double()[:, column] for column, head in enumerate(self._heads)}
            for tensor in (predictions, labels, weights)
        ]
        for metric in self._metrics.values():
            metric.update(predictions=by_head[0], labels=by_head[1], weights=by_head[2])

    def compute(self) -> dict[str, dict[str, float]]:
        """The metrics over all batches of all ranks so far; every rank of the group must call it.

        Returns:
            ``{head: {"ne", "calibration", "ctr"}}``, the same on every rank. NaN where undefined: ``ne`` with
            labels of one kind only, ``calibration`` without a positive label.
        """
        values: dict[str, dict[str, float]] = {head: {} for head in self._heads}
        with warnings.catch_warnings():
            # A rank without a row has nothing to update before it computes, and need not be told.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for name, metric in self._metrics.items():
                for composed, value in metric.compute().items():
                    task, _, suffix = composed.partition("|")
                    if suffix.startswith("lifetime"):
                        values[task.split("-", 1)[1]][name] = float(value)
        for metrics in values.values():
            # torchrec reports 0 where there is nothing to divide by.
            if metrics["ctr"] == 0:
                metrics["calibration"] = float("nan")
            if not 0 < metrics["ctr"] < 1:
                metrics["ne"] = float("nan")
        return values

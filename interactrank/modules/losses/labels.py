"""Labels and weights from engagements.

Shapes: C candidates, E engagement columns, H heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class HeadRule:
    """Rule of a head: positive if any of ``any_of`` happened and none of ``unless`` did."""

    any_of: Sequence[str]
    unless: Sequence[str] = field(default=())


class PriorityLabels(nn.Module):
    """Labels per head, and one weight per candidate: that of the most telling engagement.

    The weight is the first match in ``priorities``, so the order states what an engagement says about the
    candidate, and the weight how much. (In the reference's table a save outweighs a click on the same row,
    and an impression alone is a confident negative.)

    Args:
        columns: names of the E engagement columns.
        heads: head name -> rule, in the order of the output.
        priorities: (column, weight), most telling first.
        default_weight: weight where nothing matches.

    Raises:
        ValueError: a rule names a column that is not there, or a weight is negative.

    Example::

        >>> import torch
        >>> rule = PriorityLabels(
        ...     columns=["click", "save", "bounce"],
        ...     heads={"engaged": HeadRule(any_of=["click", "save"], unless=["bounce"])},
        ...     priorities=[("save", 7.0), ("click", 1.0)],
        ...     default_weight=0.5,
        ... )
        >>> labels, weights = rule(torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 0]]))
        >>> labels.tolist(), weights.tolist()
        ([[1.0], [0.0], [0.0]], [7.0, 1.0, 0.5])
    """

    any_of: Tensor
    unless: Tensor
    order: Tensor
    weights: Tensor

    def __init__(
        self,
        *,
        columns: Sequence[str],
        heads: Mapping[str, HeadRule],
        priorities: Sequence[tuple[str, float]],
        default_weight: float = 1.0,
    ) -> None:
        super().__init__()
        place = {name: i for i, name in enumerate(columns)}
        named = [name for rule in heads.values() for name in (*rule.any_of, *rule.unless)]
        unknown = [name for name in (*named, *(name for name, _ in priorities)) if name not in place]
        if unknown:
            raise ValueError(f"no engagement column {unknown[0]!r}; there are {', '.join(columns)}.")
        if min([default_weight, *(weight for _, weight in priorities)]) < 0:
            raise ValueError("a label weight is negative; weights must be at least 0.")
        self.columns, self.heads = list(columns), list(heads)

        def members(names: Sequence[str]) -> Tensor:
            return torch.tensor([float(name in names) for name in columns])

        rules = list(heads.values())
        self.register_buffer("any_of", torch.stack([members(r.any_of) for r in rules], -1), persistent=False)
        self.register_buffer("unless", torch.stack([members(r.unless) for r in rules], -1), persistent=False)
        order = torch.tensor([place[name] for name, _ in priorities], dtype=torch.int64)
        weights = torch.tensor([weight for _, weight in priorities] + [default_weight])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, engagements: Tensor) -> tuple[Tensor, Tensor]:
        """Label candidates.

        Args:
            engagements: [C, E], any numeric type; above 0 means that it happened.

        Returns:
            labels [C, H] in {0, 1} and weights [C], of the type of the buffers (float32).
        """
        if engagements.shape[-1] != len(self.columns):
            raise ValueError(f"PriorityLabels: {engagements.shape[-1]} columns; expected {self.columns}.")
        happened = engagements > 0
        dtype = self.any_of.dtype
        hit, veto = happened.to(dtype) @ self.any_of, happened.to(dtype) @ self.unless
        labels = ((hit > 0) & (veto == 0)).to(dtype)
        matches = happened.index_select(1, self.order)
        always = matches.new_ones(matches.shape[0], 1)
        # argmax returns the first of equal values only by accident; a running count says it outright.
        matches = torch.cat([matches, always], dim=-1)
        first = matches & (matches.long().cumsum(-1) == 1)
        return labels, (first.to(dtype) * self.weights).sum(-1)

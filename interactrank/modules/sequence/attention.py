"""Attention from the query to the events of its user's jagged sequence.

Shapes: R requests, L events of all requests, D event dim, Q query dim.
"""

from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_width
from interactrank.modules.precision import wide
from interactrank.modules.segments import segment_ids, segment_softmax, weighted_segment_sum


class QueryCrossAttention(nn.Module):
    """u_q = sum_i beta_i(q) e_i with beta = softmax over the request's own events of scale * <W q, e_i>.

    InteractRank, arXiv 2504.06609, section 3 (query cross-attention).

    Args:
        dim: D.
        query_dim: Q; None for D.
        project: learn W [D, Q] (the identity at first where Q = D); else W = 1 and Q must be D.
        scale: factor on the products; None for 1 / sqrt(D).

    Raises:
        ValueError: Q differs from D without a projection.

    Example::

        >>> import torch
        >>> attention = QueryCrossAttention(dim=2, project=False, scale=1.0)
        >>> events, query = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([[100.0, 0.0], [1.0, 1.0]])
        >>> attention(events, torch.tensor([2, 0]), query).tolist()
        [[9.0, 0.0], [0.0, 0.0]]
    """

    def __init__(
        self, *, dim: int, query_dim: int | None = None, project: bool = True, scale: float | None = None
    ) -> None:
        super().__init__()
        require_positive(dim=dim)
        self.dim, self.query_dim = dim, dim if query_dim is None else query_dim
        self.scale = dim**-0.5 if scale is None else scale
        if not project and self.query_dim != dim:
            raise ValueError(f"query_dim is {query_dim}; without project it must be dim, {dim}.")
        self.project: nn.Module = nn.Linear(self.query_dim, dim, bias=False) if project else nn.Identity()
        if isinstance(self.project, nn.Linear) and self.query_dim == dim:
            nn.init.eye_(self.project.weight)

    def forward(self, events: Tensor, lengths: Tensor, query: Tensor, ids: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            events: [L, D], request after request.
            lengths: [R] int64.
            query: [R, Q].
            ids: [L] request of every event, if the caller has it.

        Returns:
            [R, D]; zeros without events.
        """
        require_width(self, events, self.dim, what="events")
        require_width(self, query, self.query_dim, what="query")
        if ids is None:
            ids = segment_ids(lengths, events.shape[0])
        asked = self.project(query).index_select(0, ids)
        products = events * asked
        scores = products.sum(-1, dtype=wide(products.dtype)) * self.scale
        return weighted_segment_sum(events, segment_softmax(scores, ids, lengths.shape[0]), lengths)

"""UserSequenceEmbedder: what a user did lately, as one vector per request.

Shapes: R requests, L events of all requests, D event dim, Q query dim, A action types.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_width
from interactrank.modules.segments import segment_ids
from interactrank.modules.sequence.relative_time import RelativeTimeEmbedding

COMBINE = ("concat", "sum")


class UserSequenceEmbedder(nn.Module):
    """Embedder of jagged events: learned weighted pooling u_p and query cross-attention u_q.

    An event is the sum of its vectors (the item's embedding, perhaps the embedding of the query it followed),
    its action embedding and its relative-time embedding. InteractRank, arXiv 2504.06609, section 3 and
    figure 2. Nothing is padded: the cost is proportional to the real number of events.

    Args:
        dim: D.
        action: table [A, D] of the kinds of events; None for events without one.
        time: :class:`RelativeTimeEmbedding`; None for events without a time.
        encoder: runs over the events first, ``(events, lengths, ids) -> events``, such as
            :class:`SequenceTransformer`; None for none.
        pooling: ``(events, lengths, ids) -> [R, D]``, such as :class:`LearnedWeightedPooling`; None for no
            u_p.
        attention: ``(events, lengths, query, ids) -> [R, D]``, such as :class:`QueryCrossAttention`; None for
            no u_q.
        combine: ``"concat"`` -> [u_p, u_q], ``"sum"`` -> u_p + u_q.
        learned_empty: a learned vector stands for a request without events; else what pooling and attention
            give (zeros, plus the pooling's scalar).

    Raises:
        ValueError: nothing to compute, or an unknown ``combine``.

    Example::

        >>> from interactrank.modules import LearnedWeightedPooling, QueryCrossAttention
        >>> embedder = UserSequenceEmbedder(
        ...     dim=4,
        ...     action=nn.Embedding(3, 4),
        ...     time=RelativeTimeEmbedding(dim=4),
        ...     pooling=LearnedWeightedPooling(max_len=100),
        ...     attention=QueryCrossAttention(dim=4),
        ... )
        >>> events, lengths = torch.randn(3, 4), torch.tensor([2, 0, 1])
        >>> actions, ages, query = torch.tensor([0, 2, 1]), torch.tensor([0.1, 30.0, 2.0]), torch.randn(3, 4)
        >>> out = embedder(events, lengths, actions=actions, ages=ages, query=query)
        >>> out.shape, out[1].abs().sum().item()
        (torch.Size([3, 8]), 0.0)
    """

    def __init__(
        self,
        *,
        dim: int,
        action: nn.Embedding | None = None,
        time: RelativeTimeEmbedding | None = None,
        encoder: nn.Module | None = None,
        pooling: nn.Module | None = None,
        attention: nn.Module | None = None,
        combine: str = "concat",
        learned_empty: bool = True,
    ) -> None:
        super().__init__()
        require_positive(dim=dim)
        if combine not in COMBINE:
            raise ValueError(f"combine is {combine!r}; allowed are {', '.join(COMBINE)}.")
        if pooling is None and attention is None:
            raise ValueError("UserSequenceEmbedder without pooling and without attention computes nothing.")
        self.dim, self.combine = dim, combine
        both = pooling is not None and attention is not None
        self.out_dim = 2 * dim if both and combine == "concat" else dim
        self.action, self.time, self.encoder = action, time, encoder
        self.pooling, self.attention = pooling, attention
        self.empty = nn.Parameter(torch.zeros(self.out_dim)) if learned_empty else None

    def forward(
        self,
        events: Tensor | Mapping[str, Tensor],
        lengths: Tensor,
        *,
        actions: Tensor | None = None,
        ages: Tensor | None = None,
        query: Tensor | None = None,
    ) -> Tensor:
        """Embed the sequences.

        Args:
            events: [L, D], or several by name, which are added; request after request, the most recent event
                of each first.
            lengths: [R] int64, events of each request.
            actions: [L] int64 in 0..A-1; exactly if the module embeds actions.
            ages: [L] float, hours from event to request; exactly if the module embeds times.
            query: [R, Q]; exactly if the module attends.

        Returns:
            [R, out_dim].

        Raises:
            ValueError: an input is absent or was not expected.
        """
        x = self._events(events, actions, ages)
        if (query is None) != (self.attention is None):
            raise ValueError(_given("query", query, "an attention"))
        ids = segment_ids(lengths, x.shape[0])
        if self.encoder is not None:
            x = self.encoder(x, lengths, ids)
        parts = []
        if self.pooling is not None:
            parts.append(self.pooling(x, lengths, ids))
        if self.attention is not None:
            parts.append(self.attention(x, lengths, query, ids))
        if len(parts) == 1:
            out = parts[0]
        else:
            out = torch.cat(parts, dim=-1) if self.combine == "concat" else parts[0] + parts[1]
        return out if self.empty is None else torch.where((lengths == 0).unsqueeze(-1), self.empty, out)

    def _events(
        self, events: Tensor | Mapping[str, Tensor], actions: Tensor | None, ages: Tensor | None
    ) -> Tensor:
        if (actions is None) != (self.action is None):
            raise ValueError(_given("actions", actions, "an action table"))
        if (ages is None) != (self.time is None):
            raise ValueError(_given("ages", ages, "a time embedding"))
        parts = [events] if isinstance(events, Tensor) else list(events.values())
        for part in parts:
            require_width(self, part, self.dim, what="events")
        if self.action is not None:
            parts.append(self.action(actions))
        if self.time is not None:
            parts.append(self.time(ages))
        if not parts:
            raise ValueError("UserSequenceEmbedder: no event vectors, no actions and no times were given.")
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


def _given(name: str, value: object, option: str) -> str:
    if value is None:
        return f"UserSequenceEmbedder: {name} is missing; the module was built with {option}."
    return f"UserSequenceEmbedder: {name} was given, but the module was not built with {option}."

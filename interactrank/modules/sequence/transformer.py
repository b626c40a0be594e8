"""A small transformer encoder over jagged sequences: the heavier choice before pooling and cross-attention.

Shapes: R requests, L events of all requests, D event dim, W window, n = ceil(L / W) chunks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.checks import require_positive, require_rate, require_width
from interactrank.modules.segments import segment_ids, segment_positions


class SequenceTransformer(nn.Module):
    """Pre-norm transformer layers in which an event attends to the events of the same user near it.

    Events of all users lie in one stream that is cut into chunks of W; an event looks at its own chunk and
    the two next to it, and a mask keeps what belongs to the same user and is at most W places away. The cost
    is proportional to the real number of events, and neither the cuts nor the neighbours in the batch change
    a result. With W >= max_len every event sees its user's whole sequence.

    Args:
        dim: D.
        heads: attention heads; must divide D.
        layers: number of layers.
        max_len: number of learned positions, counted from the most recent event; older ones share the last.
        window: W.
        hidden_dim: columns inside the feed-forward part; None for 4 D.
        dropout: share of the outputs of each part set to zero while training.

    Raises:
        ValueError: a size is not allowed.

    Example::

        >>> encoder = SequenceTransformer(dim=8, heads=2, layers=1, max_len=100, window=32)
        >>> encoder(torch.randn(5, 8), torch.tensor([3, 0, 2])).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int = 2,
        layers: int = 1,
        max_len: int = 100,
        window: int = 32,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive(dim=dim, heads=heads, layers=layers, max_len=max_len, window=window)
        require_rate(dropout=dropout)
        if dim % heads:
            raise ValueError(f"dim is {dim}; it must be a multiple of heads, {heads}.")
        self.in_dim = self.out_dim = dim
        self.max_len, self.window = max_len, window
        self.positions = nn.Embedding(max_len, dim)
        nn.init.normal_(self.positions.weight, std=0.02)
        hidden = 4 * dim if hidden_dim is None else hidden_dim
        self.layers = nn.ModuleList(_Layer(dim, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, events: Tensor, lengths: Tensor, ids: Tensor | None = None) -> Tensor:
        """Give every event the context of its user's other events.

        Args:
            events: [L, D], request after request, the most recent event of each first.
            lengths: [R] int64.
            ids: [L] request of every event, if the caller has it.

        Returns:
            [L, D].
        """
        require_width(self, events, self.in_dim, what="events")
        total, w = events.shape[0], self.window
        if ids is None:
            ids = segment_ids(lengths, total)
        x = events + self.positions(segment_positions(lengths, ids).clamp_max(self.max_len - 1))
        missing = -total % w
        owner = F.pad(ids, (0, missing), value=-1).view(-1, w)  # [n, W]
        steps = torch.arange(w, device=ids.device)
        near = (steps.unsqueeze(1) + w - torch.arange(3 * w, device=ids.device)).abs() <= w  # [W, 3W]
        visible = near & (owner.unsqueeze(2) == _with_neighbours(owner, -2).unsqueeze(1))  # [n, W, 3W]
        x = F.pad(x, (0, 0, 0, missing))
        for layer in self.layers:
            x = layer(x, visible)
        return self.norm(x[:total])


class _Layer(nn.Module):
    def __init__(self, dim: int, heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map [n W, D] rows and [n, W, 3W] visibility -> [n W, D]."""
        w = visible.shape[1]
        qkv = self.qkv(self.attention_norm(x)).view(-1, w, 3, self.heads, x.shape[-1] // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [n, heads, W, D / heads]
        k, v = _with_neighbours(k), _with_neighbours(v)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible.unsqueeze(1))
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(x.shape)))
        return x + self.dropout(self.feed(self.feed_norm(x)))


def _with_neighbours(chunks: Tensor, fill: int = 0) -> Tensor:
    """Return [n, (heads,) W, ...] -> [n, (heads,) 3W, ...]: the chunk before, the chunk, the chunk after."""
    edge = torch.full_like(chunks[:1], fill)
    axis = 1 if chunks.dim() == 2 else 2
    return torch.cat([torch.cat([edge, chunks[:-1]]), chunks, torch.cat([chunks[1:], edge])], dim=axis)

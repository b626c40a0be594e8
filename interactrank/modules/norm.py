"""Norms that look at one row at a time, so that a result never depends on the other rows of a batch.

Shapes: N rows, H heads, D embedding dim.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from interactrank.modules.precision import wide


def normalize_heads(x: Tensor, *, heads: int, eps: float = 1e-12) -> Tensor:
    """Divide every head's vector by its own l2 norm.

    A zero vector stays zero with a finite gradient. The result has at least float32, because dot products of
    unit vectors decide the ranking.

    Args:
        x: [..., H * D], head-major columns.
        heads: H.
        eps: lower bound of the norm.

    Returns:
        [..., H, D] rows of length 1; float64 for a float64 input, else float32.

    Example::

        >>> import torch
        >>> normalize_heads(torch.tensor([[3.0, 4.0, 0.0, 2.0]]), heads=2).tolist()
        [[[0.6000000238418579, 0.800000011920929], [0.0, 1.0]]]
    """
    if x.shape[-1] % heads:
        raise ValueError(f"normalize_heads: {x.shape[-1]} columns cannot be split into {heads} heads.")
    return F.normalize(x.to(wide(x.dtype)).unflatten(-1, (heads, -1)), dim=-1, eps=eps)


class DenseVectorNorm(nn.Module):
    """A LayerNorm of its own for each dense vector feature; other features pass unchanged.

    Args:
        dims: feature name -> trailing shape to normalise over (an int is one dimension).
        eps: added to the variance.

    Example::

        >>> import torch
        >>> norm = DenseVectorNorm(dims={"item.image": 2})
        >>> out = norm({"item.image": torch.tensor([[1, 3]]), "item.clicks": torch.tensor([7.0])})
        >>> [(name, value.round(decimals=3).tolist()) for name, value in out.items()]
        [('item.image', [[-1.0, 1.0]]), ('item.clicks', [7.0])]
    """

    def __init__(self, *, dims: Mapping[str, int | Sequence[int]], eps: float = 1e-5) -> None:
        super().__init__()
        self.features = list(dims)
        shapes = ([dim] if isinstance(dim, int) else list(dim) for dim in dims.values())
        self.norms = nn.ModuleDict(
            {module_key(name): nn.LayerNorm(shape, eps=eps) for name, shape in zip(dims, shapes, strict=True)}
        )

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalise the listed features.

        Args:
            features: name -> [N, ...]; integers are taken as numbers.

        Returns:
            The same names in the same order.

        Raises:
            KeyError: a listed feature is absent.
        """
        absent = [name for name in self.features if name not in features]
        if absent:
            raise KeyError(
                f"DenseVectorNorm: no feature {absent[0]!r}; given: {', '.join(sorted(features))}."
            )
        out = dict(features)
        for name, norm in zip(self.features, self.norms.values(), strict=True):
            out[name] = norm(features[name].to(norm.get_parameter("weight").dtype))
        return out


def module_key(name: str) -> str:
    """Return a key under which a ModuleDict can hold ``name``; different names give different keys.

    Example::

        >>> module_key("item.image"), module_key("items")
        ('f_item%2Eimage', 'f_items')
    """
    return "f_" + name.replace("%", "%25").replace(".", "%2E")

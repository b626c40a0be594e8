"""ID tables as TorchRec collections.

Shapes: N rows of a batch, D embedding dim.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig, PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

POOLING = {"sum": PoolingType.SUM, "mean": PoolingType.MEAN}


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """An ID table and the features that look it up.

    Args:
        name: name of the table.
        rows: number of ids.
        dim: D, a multiple of 4 (FBGEMM's kernels need that).
        features: keys of the KeyedJaggedTensor; several features may share a table.
        pooling: ``"sum"`` or ``"mean"`` for a bag; None for one vector per id.
        init_scale: rows start uniformly in +-init_scale. Small, so that an id that was never trained hardly
            disturbs the result.
    """

    name: str
    rows: int
    dim: int
    features: Sequence[str]
    pooling: str | None = "sum"
    init_scale: float = 0.05

    def problems(self, *, pooled: bool) -> list[str]:
        """Return everything that is wrong, each naming the table."""
        found = []
        if self.rows < 1:
            found.append(f"table {self.name!r}: rows is {self.rows}; it must be at least 1.")
        if self.dim < 4 or self.dim % 4:
            found.append(f"table {self.name!r}: dim is {self.dim}; it must be a positive multiple of 4.")
        if not self.features:
            found.append(f"table {self.name!r} has no feature; name at least one, or drop the table.")
        if self.init_scale <= 0:
            found.append(f"table {self.name!r}: init_scale is {self.init_scale}; it must be above 0.")
        allowed = list(POOLING) if pooled else [None]
        if self.pooling not in allowed:
            kind = "EmbeddingBagCollection" if pooled else "EmbeddingCollection"
            found.append(f"table {self.name!r}: pooling is {self.pooling!r}; an {kind} allows {allowed}.")
        return found

    def init(self, weight: Tensor) -> Tensor:
        """Fill a table, or a shard of it, in place."""
        return nn.init.uniform_(weight, -self.init_scale, self.init_scale)


def embedding_bag_collection(
    tables: Sequence[TableConfig], *, device: torch.device | None = None
) -> EmbeddingBagCollection:
    """Build tables whose ids are pooled: KeyedJaggedTensor -> KeyedTensor, one vector per row and feature.

    Args:
        tables: all with a pooling.
        device: where the tables live; ``meta`` for tables that DistributedModelParallel will create.

    Raises:
        ValueError: listing everything that is wrong.

    Example::

        >>> import torch
        >>> from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
        >>> ebc = embedding_bag_collection([TableConfig(name="t", rows=10, dim=4, features=["tokens"])])
        >>> ids, lengths = torch.tensor([1, 2, 3]), torch.tensor([2, 0, 1])
        >>> ebc(KeyedJaggedTensor(keys=["tokens"], values=ids, lengths=lengths))["tokens"].shape
        torch.Size([3, 4])
    """
    _check(tables, pooled=True)
    configs = [
        EmbeddingBagConfig(
            name=t.name,
            num_embeddings=t.rows,
            embedding_dim=t.dim,
            feature_names=list(t.features),
            pooling=POOLING[str(t.pooling)],
            init_fn=t.init,
        )
        for t in tables
    ]
    return EmbeddingBagCollection(tables=configs, device=device)


def embedding_collection(
    tables: Sequence[TableConfig], *, device: torch.device | None = None
) -> EmbeddingCollection:
    """Build tables whose ids keep a vector each: KeyedJaggedTensor -> {feature: JaggedTensor}.

    Args:
        tables: all without a pooling and of one dim.
        device: where the tables live; ``meta`` for tables that DistributedModelParallel will create.

    Raises:
        ValueError: listing everything that is wrong.

    Example::

        >>> import torch
        >>> from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
        >>> ec = embedding_collection([TableConfig(name="t", rows=10, dim=4, features=["seq"], pooling=None)])
        >>> ids, lengths = torch.tensor([1, 2, 3]), torch.tensor([2, 0, 1])
        >>> ec(KeyedJaggedTensor(keys=["seq"], values=ids, lengths=lengths))["seq"].values().shape
        torch.Size([3, 4])
    """
    _check(tables, pooled=False)
    configs = [
        EmbeddingConfig(
            name=t.name,
            num_embeddings=t.rows,
            embedding_dim=t.dim,
            feature_names=list(t.features),
            init_fn=t.init,
        )
        for t in tables
    ]
    return EmbeddingCollection(tables=configs, device=device)


def _check(tables: Sequence[TableConfig], *, pooled: bool) -> None:
    found = [problem for t in tables for problem in t.problems(pooled=pooled)]
    if not tables:
        found.append("a collection needs at least one table.")
    for name, times in Counter(t.name for t in tables).items():
        if times > 1:
            found.append(f"{times} tables are called {name!r}; names must differ.")
    for name, times in Counter(f for t in tables for f in t.features).items():
        if times > 1:
            found.append(f"feature {name!r} is looked up in {times} tables; each lookup needs its own name.")
    dims = sorted({t.dim for t in tables})
    if not pooled and len(dims) > 1:
        found.append(f"tables of one EmbeddingCollection must have one dim, not {dims}.")
    if found:
        raise ValueError("\n".join(found))

"""The ID tables of a model: their collections, names, shapes and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.modules.mc_embedding_modules import BaseManagedCollisionEmbeddingCollection

from interactrank.modules.managed import STATE_BYTES

__all__ = ["TableInfo", "table_collections", "table_parameters", "tables_of"]


@dataclass(frozen=True)
class TableInfo:
    """One ID table of an unsharded model.

    Attributes:
        collection: path of its collection in the model.
        name: its name there, which no other table has.
        rows: number of rows.
        dim: width.
        features: keys of the ids that are looked up in it.
        pooled: whether its rows are pooled (EmbeddingBagCollection) or kept (EmbeddingCollection).
        weight: the parameter; on the ``meta`` device it has a shape only.
        buckets: number of buckets of a managed table, whose ranks hold whole ones; None for another table.
    """

    collection: str
    name: str
    rows: int
    dim: int
    features: tuple[str, ...]
    pooled: bool
    weight: nn.Parameter
    buckets: int | None = None

    @property
    def path(self) -> str:
        """``collection.table``."""
        return f"{self.collection}.{self.name}"

    @property
    def bytes(self) -> int:
        """Bytes of the weights."""
        return self.rows * self.dim * self.weight.element_size()

    @property
    def managed_bytes(self) -> int:
        """Bytes of the ids, counts and steps that a managed table keeps next to its weights; else 0."""
        return 0 if self.buckets is None else self.rows * STATE_BYTES


def table_collections(model: nn.Module) -> dict[str, nn.Module]:
    """Return path -> collection of ID tables, for every one in ``model``; managed ones as a whole."""
    kinds = (EmbeddingBagCollection, EmbeddingCollection, BaseManagedCollisionEmbeddingCollection)
    found = {path: module for path, module in model.named_modules() if isinstance(module, kinds)}
    inner = {
        id(module._embedding_module)
        for module in found.values()
        if isinstance(module, BaseManagedCollisionEmbeddingCollection)
    }
    return {path: module for path, module in found.items() if id(module) not in inner}


def tables_of(model: nn.Module) -> list[TableInfo]:
    """Return every ID table of an unsharded model.

    Example::

        >>> import torch
        >>> from torchrec.modules.embedding_configs import EmbeddingBagConfig
        >>> config = EmbeddingBagConfig(name="a", embedding_dim=4, num_embeddings=9, feature_names=["f"])
        >>> bags = EmbeddingBagCollection(tables=[config], device=torch.device("meta"))
        >>> [(t.path, t.bytes) for t in tables_of(nn.ModuleDict({"bags": bags}))]
        [('bags.a', 144)]
    """
    found = []
    for path, collection in table_collections(model).items():
        configs: list
        buckets: dict[str, int] = {}
        if isinstance(collection, BaseManagedCollisionEmbeddingCollection):
            buckets = collection._managed_collision_collection.table_to_number_buckets()
            collection = collection._embedding_module
        assert isinstance(collection, EmbeddingBagCollection | EmbeddingCollection)
        if pooled := isinstance(collection, EmbeddingBagCollection):
            configs, modules = list(collection.embedding_bag_configs()), collection.embedding_bags
        else:
            configs, modules = list(collection.embedding_configs()), collection.embeddings
        for c in configs:
            found.append(
                TableInfo(
                    path,
                    c.name,
                    c.num_embeddings,
                    c.embedding_dim,
                    tuple(c.feature_names),
                    pooled,
                    modules[c.name].weight,
                    buckets.get(c.name),
                )
            )
    return found


def table_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return ``collection.table`` -> weight, for every ID table of an unsharded model."""
    return {table.path: table.weight for table in tables_of(model)}

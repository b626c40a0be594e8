"""The ID tables of a model: where they are, what they are called, and what they weigh."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection

__all__ = ["TableInfo", "table_collections", "table_parameters", "tables_of"]


@dataclass(frozen=True)
class TableInfo:
    """One ID table of an unsharded model.

    Attributes:
        collection: path of its collection in the model.
        name: its name there, unlike that of any other table.
        rows: rows.
        dim: width.
        features: keys of the ids that are looked up in it.
        pooled: whether its rows are pooled (EmbeddingBagCollection) or kept (EmbeddingCollection).
        weight: the parameter; on the ``meta`` device it has a shape only.
    """

    collection: str
    name: str
    rows: int
    dim: int
    features: tuple[str, ...]
    pooled: bool
    weight: nn.Parameter

    @property
    def path(self) -> str:
        """``collection.table``."""
        return f"{self.collection}.{self.name}"

    @property
    def bytes(self) -> int:
        """Of the weights."""
        return self.rows * self.dim * self.weight.element_size()


def table_collections(model: nn.Module) -> dict[str, EmbeddingBagCollection | EmbeddingCollection]:
    """Path -> collection of ID tables, for every one in ``model``."""
    kinds = (EmbeddingBagCollection, EmbeddingCollection)
    return {path: module for path, module in model.named_modules() if isinstance(module, kinds)}


def tables_of(model: nn.Module) -> list[TableInfo]:
    """Every ID table of an unsharded model.

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
                )
            )
    return found


def table_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """``collection.table`` -> weight, for every ID table of an unsharded model."""
    return {table.path: table.weight for table in tables_of(model)}

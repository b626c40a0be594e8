"""Collections of managed tables."""

from __future__ import annotations

from collections.abc import Mapping

from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.modules.mc_embedding_modules import (
    ManagedCollisionEmbeddingBagCollection,
    ManagedCollisionEmbeddingCollection,
)
from torchrec.modules.mc_modules import ManagedCollisionCollection

from interactrank.modules.managed.eviction import Eviction
from interactrank.modules.managed.managed_ids import ManagedIds


def manage(
    collection: EmbeddingBagCollection | EmbeddingCollection, evictions: Mapping[str, Eviction]
) -> ManagedCollisionEmbeddingBagCollection | ManagedCollisionEmbeddingCollection:
    """Return a collection whose tables are looked up by ids of any size; its result is (embeddings, None).

    Rows that change their value are reset only in the sharded collection (TorchRec leaves them as they are in
    the unsharded one), which is what the package trains, on one rank, too.

    Args:
        collection: tables with a multiple of their buckets as rows.
        evictions: table -> policy, interval and buckets, for every table.

    Raises:
        ValueError: an eviction does not go with its table, or a table has none.
    """
    pooled = isinstance(collection, EmbeddingBagCollection)
    configs = collection.embedding_bag_configs() if pooled else collection.embedding_configs()
    found = [
        f"table {c.name!r}: {problem}"
        for c in configs
        for problem in (
            evictions[c.name].problems(c.num_embeddings) if c.name in evictions else ["has no eviction"]
        )
    ]
    if found:
        raise ValueError("\n".join(found))
    modules = {
        c.name: ManagedIds(rows=c.num_embeddings, eviction=evictions[c.name], device=collection.device)
        for c in configs
    }
    managed = ManagedCollisionCollection(modules, list(configs))
    kind = ManagedCollisionEmbeddingBagCollection if pooled else ManagedCollisionEmbeddingCollection
    return kind(collection, managed)

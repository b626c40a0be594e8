"""SequenceEncoder: the user's history as one vector per request.

Shapes: R requests, L events, d width of the sequence's tables.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout
from interactrank.models.settings import SequenceSettings
from interactrank.models.tables import Looked
from interactrank.modules import (
    LearnedWeightedPooling,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    SequenceTransformer,
    UserSequenceEmbedder,
)


class SequenceEncoder(nn.Module):
    """Embeds the events of each request; they attend to the request's own ID features.

    Args:
        layout: of a schema with a section ``sequence``.
        std: of the first weights of actions and times.
        settings: how events are summarised. Attention needs an ID feature of the request to ask with; without
            one, pooling alone is used.

    Raises:
        ValueError: attention alone is asked for, and the request has no ID feature.
    """

    def __init__(self, *, layout: BatchLayout, settings: SequenceSettings, std: float) -> None:
        super().__init__()
        schema = layout.schema
        sequence = schema.sequence
        if sequence is None:
            raise ValueError("the schema has no section sequence; there are no events to encode")
        self.asking = [f.name for f in layout.sparse("request")] if settings.attention else []
        self.events = ["item", "query"] if sequence.query is not None else ["item"]
        dim = schema.tables[str(schema.feature(sequence.item).table)].dim
        query_dim = sum(schema.tables[str(schema.feature(name).table)].dim for name in self.asking)
        encoder = None
        if settings.transformer_layers:
            encoder = SequenceTransformer(
                dim=dim,
                layers=settings.transformer_layers,
                heads=settings.transformer_heads,
                max_len=sequence.length,
            )
        action = nn.Embedding(len(schema.sequence_engagements), dim)
        time = RelativeTimeEmbedding(dim=dim)
        pooling = LearnedWeightedPooling(max_len=sequence.length, normalized=True)
        attention = QueryCrossAttention(dim=dim, query_dim=query_dim) if self.asking else None
        self.embedder = UserSequenceEmbedder(
            dim=dim,
            action=action,
            time=time,
            encoder=encoder,
            pooling=pooling if settings.pooling else None,
            attention=attention,
        )
        # At the scale of the ID tables: at the modules' own they would drown the items of the events.
        nn.init.normal_(action.weight, std=std)
        nn.init.normal_(time.table.weight, std=std)
        self.out_dim = self.embedder.out_dim

    def forward(self, batch: SearchBatch, looked: Looked) -> Tensor:
        """Encode the histories.

        Args:
            batch: actions and ages of the events.
            looked: embeddings of the events and of the requests.

        Returns:
            [R, out_dim].
        """
        return self.embedder(
            {name: looked.event[name] for name in self.events},
            batch.event_lengths,
            actions=batch.event_action,
            ages=batch.event_age,
            query=torch.cat([looked.request[name] for name in self.asking], -1) if self.asking else None,
        )

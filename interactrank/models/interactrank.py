"""InteractRank: two towers whose dot product is fused with the query-item engagement history.

Zhang et al., "InteractRank: Personalized web-scale search pre-ranking with cross interaction features",
WWW 2025, arXiv 2504.06609.

Shapes: R requests, I distinct items, C candidates, L events, H heads, D embedding dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from interactrank.batch import BatchLayout, SearchBatch
from interactrank.models.loss import RankingLoss
from interactrank.models.scoring import FusedScore
from interactrank.models.settings import ModelSettings
from interactrank.models.tables import Looked, SearchTables
from interactrank.models.towers import SideEncoder
from interactrank.modules import SequenceTransformer, UserSequenceEmbedder


class InteractRank(nn.Module):
    """The whole model: ID tables, query tower with the user sequence, item tower, cross interaction, losses.

    The query tower runs once per request and the item tower once per distinct item; only the projection runs
    per candidate.

    Args:
        layout: where the features of the schema lie in a batch, and the rows of each ID table.
        settings: sizes and choices.
    """

    def __init__(self, *, layout: BatchLayout, settings: ModelSettings) -> None:
        super().__init__()
        schema = layout.schema
        self.layout, self.settings = layout, settings
        self.heads = len(schema.heads)
        self.tables = SearchTables(layout=layout, std=settings.table_std)
        sequence_dim = 0
        self.sequence = None
        if settings.use_sequence and schema.sequence is not None:
            dim = schema.tables[str(schema.feature(schema.sequence.item).table)].dim
            query_dim = sum(schema.tables[str(f.table)].dim for f in layout.sparse("request"))
            use = settings.sequence
            encoder = None
            if use.transformer_layers:
                encoder = SequenceTransformer(
                    dim=dim, layers=use.transformer_layers, heads=use.transformer_heads
                )
            self.sequence = UserSequenceEmbedder(
                dim=dim,
                max_len=schema.sequence.length,
                actions=len(schema.sequence_engagements),
                pooling=use.pooling,
                normalized_pooling=True,
                attention=use.attention and query_dim > 0,
                query_dim=query_dim or None,
                encoder=encoder,
            )
            sequence_dim = self.sequence.out_dim
            self.event_query = None
            if schema.sequence.query is not None:
                width = schema.tables[str(schema.feature(schema.sequence.query).table)].dim
                self.event_query = nn.Identity() if width == dim else nn.Linear(width, dim, bias=False)
        self.query_tower = SideEncoder(
            layout=layout,
            side="request",
            settings=settings.request_tower,
            heads=self.heads,
            dim=settings.dim,
            extra=sequence_dim,
        )
        self.item_tower = SideEncoder(
            layout=layout, side="item", settings=settings.item_tower, heads=1, dim=settings.dim
        )
        self.fuse = FusedScore(
            heads=self.heads,
            history=len(schema.iqp),
            lexical=len(schema.lexical),
            num_items=layout.num_items,
            settings=settings,
        )
        self.loss = RankingLoss(head_weights=[h.weight for h in schema.heads], settings=settings.loss)

    def forward(self, batch: SearchBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Returns:
            The scalar loss, and detached: ``scores`` and ``labels`` [C, H] and each part, ``loss/<name>``.
        """
        looked = self.tables(batch)
        query, item = self._query(batch, looked), self._item(batch, looked)
        request = batch.candidate_request()
        scores = self._fuse(batch, query, item, request)
        loss, parts = self.loss(batch, request, scores, query, item)
        outputs = {"scores": scores.detach(), "labels": batch.labels}
        return loss, outputs | {f"loss/{name}": value.detach() for name, value in parts.items()}

    def score(self, batch: SearchBatch) -> Tensor:
        """[C, H] float32 logits of the batch's candidates."""
        looked = self.tables(batch)
        query, item = self._query(batch, looked), self._item(batch, looked)
        return self._fuse(batch, query, item, batch.candidate_request())

    def encode_requests(self, batch: SearchBatch) -> Tensor:
        """[R, H, D] unit vectors of the queries; the batch needs no items."""
        return self._query(batch, self.tables(batch))

    def encode_items(self, batch: SearchBatch) -> Tensor:
        """[I, D] unit vectors of the items; the batch needs no requests."""
        return self._item(batch, self.tables(batch))

    def _query(self, batch: SearchBatch, looked: Looked) -> Tensor:
        extra = []
        if self.sequence is not None:
            events = {"item": looked.event["item"]}
            if self.event_query is not None:
                events["query"] = self.event_query(looked.event["query"])
            names = [f.name for f in self.layout.sparse("request")]
            extra.append(
                self.sequence(
                    events,
                    batch.event_lengths,
                    actions=batch.event_action,
                    ages=batch.event_age,
                    query=torch.cat([looked.request[n] for n in names], -1)
                    if self.sequence.attention
                    else None,
                )
            )
        return self.query_tower(looked.request, batch.request_dense, extra)

    def _item(self, batch: SearchBatch, looked: Looked) -> Tensor:
        return self.item_tower(looked.item, batch.item_dense, []).squeeze(1)

    def _fuse(self, batch: SearchBatch, query: Tensor, item: Tensor, request: Tensor) -> Tensor:
        return self.fuse(
            query, item, request, batch.candidate_item, batch.iqp_rate, batch.iqp_support, batch.lexical
        )


def two_tower(*, layout: BatchLayout, settings: ModelSettings) -> InteractRank:
    """The baseline: the same towers, tables and losses without sequence, history and lexical features."""
    return InteractRank(layout=layout, settings=settings.two_tower())

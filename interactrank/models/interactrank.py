"""InteractRank: two towers whose dot product is fused with the query-item engagement history.

Zhang et al., "InteractRank: Personalized web-scale search pre-ranking with cross interaction features",
WWW 2025, arXiv 2504.06609.

Shapes: R requests, I distinct items, C candidates, H heads, D embedding dim.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from interactrank.batch import SearchBatch
from interactrank.batch.layout import BatchLayout
from interactrank.cross_features import CrossColumns
from interactrank.models.loss import LossCounts, RankingLoss
from interactrank.models.scoring import ScoreHead
from interactrank.models.sequence import SequenceEncoder
from interactrank.models.settings import ModelSettings
from interactrank.models.tables import Looked, SearchTables
from interactrank.models.towers import SideEncoder
from interactrank.modules import PositionBias


class InteractRank(nn.Module):
    """The whole model: ID tables, query tower with the user sequence, item tower, cross interaction, losses.

    The query tower runs once per request and the item tower once per distinct item; only the projection runs
    per candidate. :meth:`forward` can be traced by TorchRec's pipeline: it calls the collections of tables
    and modules alone.

    Args:
        layout: where the features of the schema lie in a batch, and the rows of each ID table.
        settings: sizes and choices.
        table_device: where the ID tables are; ``meta`` for those that are made when they are sharded.

    Attributes:
        Head: the class of what makes scores of the towers' vectors and the cross features.
    """

    Head: ClassVar[type[ScoreHead]] = ScoreHead

    def __init__(
        self, *, layout: BatchLayout, settings: ModelSettings, table_device: torch.device | None = None
    ) -> None:
        super().__init__()
        schema = layout.schema
        self.layout, self.settings = layout, settings
        self.heads = len(schema.heads)
        scale = math.sqrt(3) * settings.table_std
        self.tables = SearchTables(layout=layout, init_scale=scale, device=table_device)
        self.sequence = None
        if settings.use_sequence and schema.sequence is not None:
            self.sequence = SequenceEncoder(layout=layout, settings=settings.sequence, std=settings.table_std)
        self.query_tower = SideEncoder(
            layout=layout,
            side="request",
            settings=settings.request_tower,
            heads=self.heads,
            dim=settings.dim,
            extra=self.sequence.out_dim if self.sequence is not None else 0,
        )
        self.item_tower = SideEncoder(
            layout=layout, side="item", settings=settings.item_tower, heads=1, dim=settings.dim
        )
        self.score_head = self.Head(
            heads=self.heads,
            columns=CrossColumns.of(schema),
            num_items=layout.num_items,
            settings=settings,
        )
        self.position_bias = None
        if settings.position_biases and schema.events.position is not None:
            self.position_bias = PositionBias(positions=settings.position_biases)
        self.loss_counts = LossCounts(settings=settings.loss)
        self.loss = RankingLoss(head_weights=[h.weight for h in schema.heads], settings=settings.loss)

    def forward(self, batch: SearchBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch.

        Args:
            batch: requests, items and labelled candidates.

        Returns:
            The scalar loss, and detached: ``scores`` and ``labels`` [C, H] and each part, ``loss/<name>``.
        """
        apart = batch.fits_projection if self.score_head.reads else None
        counts = self.loss_counts(batch, apart)  # travels while the rest computes
        looked = self.tables(batch)
        query, item = self._query(batch, looked), self._item(batch, looked)
        request = batch.candidate_request()
        scores = self.score_head(query, item, request, batch.candidate_item, batch.cross, apart)
        alone = None
        if apart is not None:
            scores, alone = scores[0], scores[1]
        if self.position_bias is not None and batch.position is not None:
            bias = self.position_bias(batch.position).unsqueeze(-1)
            scores = scores + bias
            alone = None if alone is None else alone + bias.detach()
        return self.loss(batch, request, scores, query, item, apart, counts, alone)

    def score(self, batch: SearchBatch) -> Tensor:
        """Return [C, H] float32 logits of the batch's candidates; labels are not read."""
        looked = self.tables(batch)
        query, item = self._query(batch, looked), self._item(batch, looked)
        return self._score(batch, query, item, batch.candidate_request())

    def encode_requests(self, batch: SearchBatch) -> Tensor:
        """Return [R, H, D] unit vectors of the queries; the batch needs no items."""
        return self._query(batch, self.tables(batch))

    def encode_items(self, batch: SearchBatch) -> Tensor:
        """Return [I, D] unit vectors of the items; the batch needs no requests."""
        return self._item(batch, self.tables(batch))

    def _query(self, batch: SearchBatch, looked: Looked) -> Tensor:
        extra = [self.sequence(batch, looked)] if self.sequence is not None else []
        return self.query_tower(looked.request, batch.request_dense, extra)

    def _item(self, batch: SearchBatch, looked: Looked) -> Tensor:
        return self.item_tower(looked.item, batch.item_dense, []).squeeze(1)

    def _score(self, batch: SearchBatch, query: Tensor, item: Tensor, request: Tensor) -> Tensor:
        return self.score_head(query, item, request, batch.candidate_item, batch.cross)

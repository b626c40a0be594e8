"""The score: the one function that training optimises, evaluation reports and serving returns.

Shapes: R requests, I items, C candidates, N items of a catalogue, H heads, D embedding dim, X history and Y
lexical features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from interactrank.models.settings import ModelSettings
from interactrank.modules import CountSmoothing, CrossInteraction, candidate_dots

LEXICAL_FLOOR = 0.1  # log(match + 0.1): no shared word lies 2.4 below a full match


class ScoreHead(nn.Module):
    """score = w <query, item> + v [history, lexical] + c for every candidate (paper, section 3).

    Candidates come as pairs (:meth:`forward`) or as all items for all requests (:meth:`catalogue`); the
    scores are the same.

    Args:
        heads: H.
        history: the X history features of the schema, and the rate to expect of each without history.
        lexical: the Y lexical features of the schema.
        settings: which of them are used, and how.
    """

    priors: Tensor

    def __init__(
        self, *, heads: int, history: Mapping[str, float], lexical: Sequence[str], settings: ModelSettings
    ) -> None:
        super().__init__()
        use = settings.history
        self.transform = None
        self.history = _Columns(list(history), settings.leave_out, settings.use_history)
        self.lexical = _Columns(lexical, settings.leave_out, settings.use_lexical)
        if len(self.history):
            self.transform = CountSmoothing(
                features=len(self.history), transforms=use.transforms, prior_strength=use.prior_strength
            )
            priors = self.history(torch.tensor(list(history.values())))
            self.register_buffer("priors", priors, persistent=False)
        self.project = CrossInteraction(
            heads=heads,
            features=(self.transform.out_dim if self.transform else 0) + len(self.lexical),
            shared=settings.shared_projection,
            missing="learned" if self.transform is not None else "zero",
            initial_dot_weight=settings.initial_dot_weight,
            initial_cross_weight=settings.initial_cross_weight,
        )

    @property
    def uses_history(self) -> bool:
        """Whether history features are read at all."""
        return self.transform is not None

    @property
    def uses_lexical(self) -> bool:
        """Whether lexical features are read at all."""
        return len(self.lexical) > 0

    @property
    def reads(self) -> list[str]:
        """Names of the history and lexical features that are read."""
        return [*self.history.names, *self.lexical.names]

    def forward(
        self,
        query: Tensor,
        item: Tensor,
        candidate_request: Tensor,
        candidate_item: Tensor,
        iqp_rate: Tensor,
        iqp_support: Tensor,
        lexical: Tensor,
    ) -> Tensor:
        """Scores of the candidates.

        Args:
            query: [R, H, D].
            item: [I, D].
            candidate_request: [C] in 0..R-1.
            candidate_item: [C] in 0..I-1.
            iqp_rate: [C, X].
            iqp_support: [R, X].
            lexical: [C, Y].

        Returns:
            [C, H] float32 logits.
        """
        dots = candidate_dots(query, item, candidate_request, candidate_item)
        support = iqp_support if len(iqp_support) == 1 else iqp_support[candidate_request]
        return self._score(dots, iqp_rate, support, lexical)

    def catalogue(
        self, query: Tensor, item: Tensor, iqp_rate: Tensor, iqp_support: Tensor, lexical: Tensor
    ) -> Tensor:
        """Scores of all items for all requests, without an index for each pair.

        Args:
            query: [R, H, D].
            item: [N, D].
            iqp_rate: [R, N, X].
            iqp_support: [R, X].
            lexical: [R, N, Y].

        Returns:
            [R, N, H] float32 logits.
        """
        dots = (query.float() @ item.float().t()).transpose(1, 2)
        return self._score(dots, iqp_rate, iqp_support.unsqueeze(1), lexical)

    def _score(self, dots: Tensor, rate: Tensor, support: Tensor, lexical: Tensor) -> Tensor:
        """[..., H] scores; ``support`` may be one for several candidates."""
        parts, missing = [], []
        if self.transform is not None:
            rate, support = self.history(rate), self.history(support)
            parts.append(self.transform(rate, support, self.priors))
            missing.append(self.transform.missing(support))
        if len(self.lexical):
            parts.append(torch.log(self.lexical(lexical) + LEXICAL_FLOOR))
            missing.append(support.new_zeros(*support.shape[:-1], len(self.lexical), dtype=torch.bool))
        if not parts:
            return self.project(dots, dots.new_empty(*dots.shape[:-1], 0))
        return self.project(dots, torch.cat(parts, -1), torch.cat(missing, -1))


class _Columns(nn.Module):
    """Those of the features (the last axis) that the model reads."""

    columns: Tensor

    def __init__(self, names: Sequence[str], leave_out: Sequence[str], use: bool) -> None:
        super().__init__()
        kept = [j for j, name in enumerate(names) if name not in leave_out] if use else []
        self.names = [names[j] for j in kept]
        self.whole = len(kept) == len(names)
        self.register_buffer("columns", torch.tensor(kept, dtype=torch.long), persistent=False)

    def __len__(self) -> int:
        return len(self.columns)

    def forward(self, values: Tensor) -> Tensor:
        return values if self.whole else values[..., self.columns]

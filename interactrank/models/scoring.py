"""The score: the one function that training optimises, evaluation reports and serving returns.

Shapes: R requests, I items, C candidates, N items of a catalogue, H heads, D embedding dim, X cross features
that are rates, Y that are numbers and Z that are ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from interactrank.batch import CrossFeatureTensors
from interactrank.cross_features import Category, CrossColumns, CrossFeature, Number, Rate, Ratio
from interactrank.models.settings import ModelSettings
from interactrank.modules import (
    CountSmoothing,
    CrossCorrection,
    CrossInteraction,
    RatioSmoothing,
    candidate_dots,
)


class CrossInputs(NamedTuple):
    """Cross features as they enter the score.

    Args:
        values: [..., F]; None without any.
        unknown: [..., F] bool, which are not known; None if all are.
        context: [..., X] how much history the request's keys have; None without rates.
        added: [..., H] what categories add to the scores; None without any.
    """

    values: Tensor | None
    unknown: Tensor | None
    context: Tensor | None
    added: Tensor | None


class ScoreParts(NamedTuple):
    """What a score without its dot product is made of; the sum of all is that score.

    Args:
        names: of the F columns, which are cross features; a share comes once for each transform.
        features: [C, H, F] what each column adds.
        correction: [C, H] of the network over all cross features; None without one.
        bias: [H].
    """

    names: list[str]
    features: Tensor
    correction: Tensor | None
    bias: Tensor


class ScoreHead(nn.Module):
    """score = w <query, item> + v [rates, numbers, ratios] + c for every candidate (paper, section 3).

    Candidates come as pairs (:meth:`forward`) or as all items for all requests (:meth:`catalogue`); the
    scores are the same. Rates are smoothed by their support, ratios towards wider ones; a number enters as
    its column says.

    Args:
        heads: H.
        columns: the cross features of the schema.
        num_items: items of the catalogue; a rate without a prior of its own expects 1 / items.
        settings: which of the columns are read, and how.
    """

    priors: Tensor
    separable: ClassVar[bool] = True
    """Whether a score is w <query, item> plus what cross features add, so that item vectors can be served."""

    def __init__(self, *, heads: int, columns: CrossColumns, num_items: int, settings: ModelSettings) -> None:
        super().__init__()
        use = settings.cross_features
        self.smoothing = None
        self.rates = _Columns([settings.reads(f.settings) for f in columns.rates])
        read = [settings.reads(f.settings) for f in columns.numbers]
        category = [isinstance(f.column, Category) for f in columns.numbers]
        self.numbers = _Columns([r and not c for r, c in zip(read, category, strict=True)])
        self.categories = _Categories(
            [f.column if r else None for f, r in zip(columns.numbers, read, strict=True)], heads=heads
        )
        rates = [columns.rates[j] for j in self.rates.kept]
        numbers = [columns.numbers[j] for j in self.numbers.kept]
        ratios = [f for f in columns.ratios if settings.reads(f.settings)]
        kept = [settings.reads(f.settings) for f in columns.ratios]
        self.ratios = _Columns(kept * 2)  # engagements, then impressions
        named = [columns.numbers[j] for j in self.categories.kept]
        self.reads = [f.name for f in [*rates, *numbers, *named, *ratios]]
        self._names = [
            *(f.name for _ in use.transforms for f in rates),
            *(f.name for f in [*numbers, *ratios, *named]),
        ]
        self.ratio_smoothing = _ratio_smoothing(ratios, settings)
        if rates:
            self.smoothing = CountSmoothing(
                features=len(rates), transforms=use.transforms, prior_strength=use.prior_strength
            )
            priors = torch.tensor([_prior(f, settings, num_items) for f in rates])
            self.register_buffer("priors", priors, persistent=False)
        self.logarithm = _LogOffsets(numbers)
        self.may_be_unknown = any(isinstance(f.column, Number) and f.column.may_be_unknown for f in numbers)
        self.project = CrossInteraction(
            heads=heads,
            features=(self.smoothing.out_dim if self.smoothing else 0) + len(numbers) + len(ratios),
            shared=settings.shared_projection,
            missing="learned" if rates or self.may_be_unknown else "zero",
            initial_dot_weight=settings.initial_dot_weight,
            initial_cross_weight=settings.initial_cross_weight,
        )
        self.correction = None
        if use.hidden_dims and self.project.features:
            self.correction = CrossCorrection(
                features=self.project.features,
                heads=1 if settings.shared_projection else heads,
                hidden_dims=use.hidden_dims,
                context=len(rates),
                dropout=use.dropout,
            )

    @property
    def reads_rates(self) -> bool:
        """Whether rates are read at all."""
        return len(self.rates) > 0

    @property
    def reads_numbers(self) -> bool:
        """Whether numbers are read at all."""
        return len(self.numbers) + len(self.categories.kept) > 0

    @property
    def reads_ratios(self) -> bool:
        """Whether ratios are read at all."""
        return len(self.ratios) > 0

    def forward(
        self,
        query: Tensor,
        item: Tensor,
        candidate_request: Tensor,
        candidate_item: Tensor,
        cross: CrossFeatureTensors,
        fits_projection: Tensor | None = None,
    ) -> Tensor:
        """Score candidates.

        With ``fits_projection`` the gradients keep towers and projection apart. What the towers have learnt
        by heart about a request must not tell the projection how far to trust them. So where it is True the
        loss of the scores reaches the projection, and elsewhere, through the dot product, the towers. What
        cross features are worth is learned on the other requests, too: from the scores that they give alone.

        Args:
            query: [R, H, D].
            item: [I, D].
            candidate_request: [C] in 0..R-1.
            candidate_item: [C] in 0..I-1.
            cross: rates, numbers and counts [C, *], supports [R, *].
            fits_projection: [R] bool, see above; None for one loss that reaches all. If none is True, as in
                the last epoch, the projection rests.

        Returns:
            [C, H] float32 logits; with ``fits_projection`` [2, C, H], the same logits and those of cross
            features alone, whose gradients reach the projection where ``fits_projection`` is False.
        """
        dots = self.dots(query, item, candidate_request, candidate_item)
        support = cross.support if len(cross.support) == 1 else cross.support[candidate_request]
        read = self._read(cross.rate, support, cross.number, cross.counts)
        return self._fit(dots, read, None if fits_projection is None else fits_projection[candidate_request])

    def catalogue(self, query: Tensor, item: Tensor, cross: CrossFeatureTensors) -> Tensor:
        """Score all items for all requests, without an index for each pair.

        Args:
            query: [R, H, D].
            item: [N, D].
            cross: rates, numbers and counts [R, N, *], supports [R, *].

        Returns:
            [R, N, H] float32 logits.
        """
        read = self._read(cross.rate, cross.support.unsqueeze(1), cross.number, cross.counts)
        return self._score(self.all_dots(query, item), read)

    def dots(self, query: Tensor, item: Tensor, candidate_request: Tensor, candidate_item: Tensor) -> Tensor:
        """Return [C, H] dot products of the towers' vectors; arguments are those of :meth:`forward`."""
        return candidate_dots(query, item, candidate_request, candidate_item)

    def all_dots(self, query: Tensor, item: Tensor) -> Tensor:
        """Return [R, N, H] dot products; arguments are those of :meth:`catalogue`."""
        return (query.float() @ item.float().t()).transpose(1, 2)

    def rest(self, cross: CrossFeatureTensors) -> Tensor:
        """Return [C, H] scores without the dot product: what cross features and the bias add.

        Args:
            cross: rates, numbers and counts [C, *], supports [C, *] or [1, *].
        """
        read = self._read(cross.rate, cross.support, cross.number, cross.counts)
        return self._score(cross.rate.new_zeros(len(cross.rate), self.project.heads), read)

    def rest_parts(self, cross: CrossFeatureTensors) -> ScoreParts:
        """Return what :meth:`rest` is made of; arguments are the same."""
        read = self._read(cross.rate, cross.support, cross.number, cross.counts)
        heads, size = self.project.heads, len(cross.rate)
        columns = [cross.rate.new_empty(size, heads, 0)]
        if read.values is not None:
            columns.append(self.project.contributions(read.values, read.unknown).expand(size, -1, -1))
        if self.categories.kept:
            columns.append(self.categories.each(cross.number).transpose(1, 2))
        correction = None
        if self.correction is not None:
            correction = self.correction(read.values, read.unknown, read.context).expand(size, heads)
        _, bias = self.project.projection()
        return ScoreParts(self._names, torch.cat(columns, -1), correction, bias)

    def _read(self, rate: Tensor, support: Tensor, number: Tensor, counts: Tensor) -> CrossInputs:
        """Return the cross features as they enter the score; a support may be that of several candidates."""
        parts: list[Tensor] = []
        missing: list[Tensor] = []
        if self.smoothing is not None:
            rate, support = self.rates(rate), self.rates(support)
            parts.append(self.smoothing(rate, support, self.priors))
            missing.append(self.smoothing.missing(support))
        added = self.categories(number) if self.categories.kept else None
        if len(self.numbers):
            number = self.numbers(number)
            parts.append(self.logarithm(number))
            missing.append(number.isnan() if self.may_be_unknown else _known(number))
        if self.ratio_smoothing is not None:
            engaged, shown = self.ratios(counts).chunk(2, -1)
            parts.append(self.ratio_smoothing(engaged, shown))
            missing.append(_known(engaged))
        unknown = None
        if parts and (self.reads_rates or self.may_be_unknown):
            rows = torch.broadcast_shapes(*(m.shape[:-1] for m in missing))
            unknown = torch.cat([m.expand(*rows, -1) for m in missing], -1)
        context = torch.log1p(support) if self.reads_rates else None
        return CrossInputs(torch.cat(parts, -1) if parts else None, unknown, context, added)

    def _fit(self, dots: Tensor, read: CrossInputs, of_projection: Tensor | None) -> Tensor:
        """Return [C, H], or with ``of_projection`` [C] the [2, C, H] of :meth:`forward`."""
        if of_projection is None:
            return self._score(dots, read)
        alone = self._score(torch.zeros_like(dots), read)
        weight, fixed = self.project.dot_weight(), dots.detach()
        scores = alone + weight * fixed
        of_towers = scores.detach() + weight.detach() * (dots - fixed)
        late = of_projection.unsqueeze(-1)
        early = ~late & late.any()
        return torch.stack([torch.where(late, scores, of_towers), torch.where(early, alone, alone.detach())])

    def _score(self, dots: Tensor, read: CrossInputs) -> Tensor:
        """Return [..., H] scores."""
        if read.values is None:
            scores: Tensor = self.project(dots, dots.new_empty(*dots.shape[:-1], 0))
        else:
            scores = self.project(dots, read.values, read.unknown)
        if self.correction is not None:
            scores = scores + self.correction(read.values, read.unknown, read.context)
        return scores if read.added is None else scores + read.added


def _known(values: Tensor) -> Tensor:
    """Return False for a row of candidates, that all of them are known."""
    return values.new_zeros(*(1 for _ in values.shape[:-1]), values.shape[-1], dtype=torch.bool)


def _ratio_smoothing(ratios: list[CrossFeature], settings: ModelSettings) -> RatioSmoothing | None:
    if not ratios:
        return None
    wider = [f.back_off(ratios) for f in ratios]
    return RatioSmoothing(
        wider=[-1 if w is None else ratios.index(w) for w in wider],
        bases=[_base(f, settings) for f in ratios],
        prior_strength=settings.cross_features.ratio_strength,
    )


def _base(feature: CrossFeature, settings: ModelSettings) -> float:
    """Return the ratio to expect first: of the model's settings, else of the feature."""
    priors = settings.cross_features.priors
    own = feature.column.base if isinstance(feature.column, Ratio) else 0.1
    return priors.get(feature.name, priors.get(feature.settings.kind, own))


def _prior(feature: CrossFeature, settings: ModelSettings, num_items: int) -> float:
    """Return the rate to expect without support: of the model's settings, else of the feature."""
    priors = settings.cross_features.priors
    own = feature.column.prior if isinstance(feature.column, Rate) else None
    default = 1 / max(num_items, 2) if own is None else own
    return priors.get(feature.name, priors.get(feature.settings.kind, default))


class _Columns(nn.Module):
    """Those of the features (the last axis) that the model reads."""

    columns: Tensor

    def __init__(self, read: Sequence[bool]) -> None:
        super().__init__()
        self.kept = [j for j, wanted in enumerate(read) if wanted]
        self.whole = all(read)
        self.register_buffer("columns", torch.tensor(self.kept, dtype=torch.long), persistent=False)

    def __len__(self) -> int:
        return len(self.kept)

    def forward(self, values: Tensor) -> Tensor:
        return values if self.whole else values[..., self.columns]


class _Categories(nn.Module):
    """What the values of categories add to the scores: a learned number for each value and head, first 0.

    Args:
        columns: of the numbers; a category that is read, or anything else.
        heads: H.
    """

    first: Tensor
    columns: Tensor

    def __init__(self, columns: Sequence[object], *, heads: int) -> None:
        super().__init__()
        self.kept = [j for j, c in enumerate(columns) if isinstance(c, Category)]
        sizes = [c.size for c in columns if isinstance(c, Category)]
        self.weight = nn.Parameter(torch.zeros(sum(sizes), heads)) if sizes else None
        first = torch.tensor([0, *sizes[:-1]], dtype=torch.long).cumsum(0)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("columns", torch.tensor(self.kept, dtype=torch.long), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return [..., H] from [..., Y] numbers."""
        return self.each(numbers).sum(-2)

    def each(self, numbers: Tensor) -> Tensor:
        """Return [..., K, H], what each of the K categories adds."""
        assert self.weight is not None
        return self.weight[numbers[..., self.columns].long() + self.first]


class _LogOffsets(nn.Module):
    """log(number + offset) of the columns that have an offset; the others as they are."""

    offsets: Tensor
    logged: Tensor

    def __init__(self, numbers: Sequence[CrossFeature]) -> None:
        super().__init__()
        of = [f.column.log_offset if isinstance(f.column, Number) else None for f in numbers]
        self.all, self.any = all(o is not None for o in of), any(o is not None for o in of)
        self.register_buffer("offsets", torch.tensor([o or 0.0 for o in of]), persistent=False)
        self.register_buffer("logged", torch.tensor([o is not None for o in of]), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        if not self.any:
            return numbers
        if self.all:
            return torch.log(numbers + self.offsets)
        return torch.where(
            self.logged, torch.log(torch.where(self.logged, numbers + self.offsets, 1)), numbers
        )

"""PreRanker: an export in process: ranks candidates, or the whole catalogue, as evaluation does.

Shapes: R requests, N items of the catalogue, C candidates, D embedding dim, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactrank.checkpoint.weights import load_model
from interactrank.core.settings import near, parse_config
from interactrank.cross_features import CrossFeatures, RequestKeys
from interactrank.cross_features.pair_index import Int64s, Ints
from interactrank.data.loading.collate import request_batch
from interactrank.data.loading.prepared_requests import PreparedRequests
from interactrank.data.prepared.users import Users
from interactrank.data.prepared.vocabulary import Vocabulary
from interactrank.models import InteractRank, ModelSettings, build_model
from interactrank.serving.artifact import EVENT_IDS, IDS, VECTORS, WEIGHTS, Version
from interactrank.serving.candidates import CandidateReader, Candidates
from interactrank.serving.cross_scores import CrossScores
from interactrank.serving.errors import RequestError
from interactrank.serving.filters import Filters
from interactrank.serving.fresh import Fresh, RecordResult
from interactrank.serving.fresh.delta import Delta
from interactrank.serving.fresh.event_log import open_log
from interactrank.serving.fresh.recorded import fact_columns
from interactrank.serving.fresh.rows import EventReader
from interactrank.serving.item_ids import ItemIds
from interactrank.serving.item_vectors import ItemVectors
from interactrank.serving.live_requests import Live, LiveRequests
from interactrank.serving.ranking import Ranking
from interactrank.serving.selection import top_k
from interactrank.serving.watch import UNWATCHED, Watch

__all__ = ["PreRanker", "open_model"]

Mask = NDArray[np.bool_]


class PreRanker:
    """Ranks with one version of an export, and what was recorded since; threads may share it.

    Args:
        version: opened.
        unknown_items: what becomes of candidates, and of events, whose item the catalogue does not have:
            ``skip`` ignores them and names them in the result.
        events: folder of the log that keeps events that are recorded, which processes may share; None keeps
            them for as long as this process lives.

    Example::

        ranker = PreRanker.open("exports/demo")
        best = ranker.rank({"query": "red shoes", "user_id": "u7", "country": "de"}, k=100)
        best.ids, best.scores
    """

    def __init__(
        self,
        version: Version,
        *,
        unknown_items: Literal["skip", "error"] = "skip",
        events: str | Path | None = None,
    ) -> None:
        self.version = version
        folder, layout = version.folder, version.layout
        self.schema, self.layout = version.schema, layout
        self.ids = ItemIds.open(folder / IDS)
        self.vectors = ItemVectors.open(folder / VECTORS)
        self.model = open_model(version)
        self.cross = CrossFeatures.open(folder, self.schema, len(self.ids), layout.num_items)
        self.filters = Filters(folder, self.ids)
        self.head_weights = dict(version.facts["head_weights"])
        self._candidates = CandidateReader(self.schema, self.ids, unknown_items)
        self._scores = CrossScores(self.model.score_head, self.cross)
        vocabularies = {
            name: Vocabulary.open(table, folder / "vocabulary" / f"{name}.parquet")
            for name, table in self.schema.tables.items()
        }
        users = Users(folder).open()
        self._live = LiveRequests(
            layout,
            vocabularies=vocabularies,
            users=users,
            items=_Catalogue(len(self.ids), folder / EVENT_IDS),
            item_rows=self.ids.rows,
            item_fields=self.cross.fields or {},
        )
        self.fresh = Fresh(
            Delta(self.schema, self.cross, users, vocabularies, version.event_time),
            EventReader(self.schema, self.ids.rows, fact_columns(self.schema)),
            None if events is None else open_log(events),
            histories=version.facts["dataset"]["fingerprint"],
            event_time=version.event_time,
            unknown_items=unknown_items,
        )

    @classmethod
    def open(
        cls,
        artifact: str | Path,
        *,
        unknown_items: Literal["skip", "error"] = "skip",
        events: str | Path | None = None,
    ) -> PreRanker:
        """Open the version of an export that is served.

        Args:
            artifact: what ``interactrank export`` wrote.
            unknown_items: see above.
            events: see above.

        Raises:
            ArtifactError: it is not an export, or is damaged or of another format.
            EventLogError: the log of events cannot be opened.
        """
        return cls(Version.current(Path(artifact)), unknown_items=unknown_items, events=events)

    def record(self, events: Sequence[Mapping[str, Any]]) -> RecordResult:
        """Make events count in the histories of the next request, and keep them.

        Args:
            events: rows of the log's events file, see :class:`~interactrank.serving.fresh.rows.EventReader`.

        Raises:
            RequestError: a row cannot be read, is in the future, or with ``unknown_items="error"`` has an
                unknown item; names the row. No row of the call counts.
            EventLogError: they cannot be kept, such as on a full disk. No row of the call counts.
        """
        return self.fresh.record(events)

    def rank(
        self,
        request: Mapping[str, Any],
        candidates: Sequence[str] | Ints | None = None,
        k: int = 1000,
        *,
        where: Mask | None = None,
        features: Mapping[str, Sequence[Any]] | None = None,
        head_weights: Mapping[str, float] | None = None,
        explain: bool | int = False,
        watch: Watch = UNWATCHED,
    ) -> Ranking:
        """Rank one request.

        Args:
            request: see :class:`~interactrank.serving.live_requests.LiveRequests`.
            candidates: item ids, or an array of rows of the catalogue; None for the whole catalogue. One that
                is named twice counts once.
            k: results at most.
            where: [N] which items may be results, of :meth:`Filters.mask`; None for all.
            features: candidate feature -> a value for each candidate, None where it is not known; each that
                the model reads.
            head_weights: head -> its weight in the score; those of the export when left out.
            explain: give the parts of each result's score; a number for those of the first ones alone.
            watch: hears of each stage, and may stop before cross features are looked up.

        Raises:
            RequestError: the request or its candidates cannot be ranked; names what is wrong.
        """
        return self.rank_many(
            [request],
            [candidates],
            k,
            where=where,
            features=None if features is None else [features],
            head_weights=head_weights,
            explain=explain,
            watch=watch,
        )[0]

    def rank_many(
        self,
        requests: Sequence[Mapping[str, Any]],
        candidates: Sequence[Sequence[str] | Ints | None] | None = None,
        k: int = 1000,
        *,
        where: Mask | None = None,
        features: Sequence[Mapping[str, Sequence[Any]]] | None = None,
        head_weights: Mapping[str, float] | None = None,
        explain: bool | int = False,
        watch: Watch = UNWATCHED,
    ) -> list[Ranking]:
        """Rank R requests, whose query side is computed in one go; arguments are lists of :meth:`rank`'s."""
        watch.begin("read")
        histories = self.fresh.histories()
        live, cross = self._live.read(requests, histories), self._scores.over(histories.cross)
        weights = self._weights(head_weights)
        watch.begin("towers")
        queries = self._queries(live.requests, weights)
        found = []
        for n, keys in enumerate(live.keys.each()):
            watch.begin("candidates")
            of = self._candidates.read(
                None if candidates is None else candidates[n], None if features is None else features[n]
            )
            keys = RequestKeys(keys.keys, keys.time, keys.sequence_end, of.given)
            found.append(self._rank(cross, queries[n], keys, of, k, where, weights, explain, watch))
        return found

    def read(self, request: Mapping[str, Any]) -> Live:
        """Return what the model sees of a request, such as the user sequence; raises as :meth:`rank` does."""
        return self._live.read([request], self.fresh.histories())

    def terms(
        self, request: Mapping[str, Any], head_weights: Mapping[str, float] | None = None
    ) -> tuple[Tensor, Tensor, Int64s | None]:
        """Return what the score of any item of the catalogue is computed from.

        Args:
            request: as for :meth:`rank`.
            head_weights: as there.

        Returns:
            [D] vector, by which item vectors are multiplied; [K + 1] what is added for each of the K items
            about which something is known, and last for any other item; [K] their rows. None for the rows if
            something may be known about every item.

        Raises:
            RequestError: the request cannot be read.
        """
        histories, weights = self.fresh.histories(), self._weights(head_weights)
        live = self._live.read([request], histories)
        (query,) = self._queries(live.requests, weights)
        if self.schema.features.candidate:
            return query, query.new_empty(0), None
        return query, *self._scores.over(histories.cross).terms(live.keys, weights)

    def scores(
        self, requests: PreparedRequests, rows: Int64s | None = None, heads: Mapping[str, float] | None = None
    ) -> Tensor:
        """Return [R, N] or [R, C] float32 scores of prepared requests.

        Args:
            requests: of a dataset that the model was trained on.
            rows: [C] of the catalogue, the same for all requests; None for all N.
            heads: head -> its weight; those of the export when left out.
        """
        weights = self._weights(heads)
        queries, keys = self._queries(requests, weights), requests.keys()
        chosen = None if rows is None else torch.from_numpy(rows)
        cross, every = self._scores.over(self.fresh.histories().cross), []
        for query, of in zip(queries, keys.each(), strict=True):
            every.append(self.vectors.dots(query, chosen))
            cross.add_to(every[-1], of, rows, weights)
        return torch.stack(every)

    def _rank(
        self,
        cross: CrossScores,
        query: Tensor,
        keys: RequestKeys,
        candidates: Candidates,
        k: int,
        where: Mask | None,
        weights: Tensor,
        explain: bool | int,
        watch: Watch,
    ) -> Ranking:
        rows = candidates.rows
        if k < 1:
            raise RequestError(f"k is {k}; ask for at least one result")
        if where is not None and where.shape != (len(self.ids),):
            raise RequestError(
                f"where has shape {list(where.shape)}; it needs [{len(self.ids)}], a mask of the catalogue"
            )
        chosen = None if rows is None else torch.from_numpy(rows)

        def best_of(scores: Tensor) -> tuple[Tensor, Int64s]:
            if where is not None:
                allowed = where if rows is None else where[rows]
                scores = torch.where(torch.from_numpy(allowed), scores, -torch.inf)
            at = top_k(scores, k)
            return at, at.numpy() if rows is None else rows[at.numpy()]

        def by_dots(dots: Tensor) -> Ranking:
            at, best = best_of(dots)
            return Ranking(self.ids.of(best), best, dots[at].numpy(), candidates.unknown, degraded=True)

        watch.begin("dots")
        scores = self.vectors.dots(query, chosen)
        if not watch.goes_on(scores, by_dots):
            return by_dots(scores)
        watch.begin("cross_features")
        cross.add_to(scores, keys, rows, weights)
        watch.begin("best")
        at, best = best_of(scores)
        explanations = None
        if explain:
            some = best if explain is True else best[:explain]
            dots = self.vectors.dots(query, torch.from_numpy(some))
            # A number that came with a candidate may stand for its place among all of them.
            given_at = None if keys.given is None else at.numpy()[: len(some)]
            explanations = cross.explain(dots, keys, some if given_at is None else rows, weights, at=given_at)
        return Ranking(self.ids.of(best), best, scores[at].numpy(), candidates.unknown, explanations)

    @torch.inference_mode()
    def _queries(self, requests: PreparedRequests, weights: Tensor) -> Tensor:
        """Return [R, D]: the heads' vectors, with their weights and those of the dot product, in one."""
        vectors = self.model.encode_requests(request_batch(requests)).float()
        of_head = self.model.score_head.project.dot_weight() * weights
        return (vectors * of_head.unsqueeze(-1)).sum(1)

    def _weights(self, given: Mapping[str, float] | None) -> Tensor:
        """Return [H] weights of the heads."""
        of = self.head_weights if given is None else given
        for name in of:
            if name not in self.schema.head_names:
                raise RequestError(f"head_weights: no head '{name}'{near(name, self.schema.head_names)}")
        return torch.tensor([float(of.get(name, 0.0)) for name in self.schema.head_names])


class _Catalogue:
    """What user sequences need to know of items."""

    def __init__(self, size: int, event_ids: Path) -> None:
        self._size = size
        self._event_ids: Int64s | None = None
        if event_ids.exists():  # mapped now, so that the version may be deleted while it is served
            self._event_ids = np.asarray(np.memmap(event_ids, "<i8", "r"))

    def __len__(self) -> int:
        return self._size

    def first(self, feature: str, rows: Ints) -> Int64s:
        """Return the rows of the ID table of ``sequence.item``."""
        assert self._event_ids is not None  # an export has them if its schema has a sequence
        return np.asarray(self._event_ids[rows])


def open_model(version: Version) -> InteractRank:
    """Return the model of a version, in evaluation mode."""
    found = version.facts["model"]
    settings = parse_config(ModelSettings, found["settings"], f"{version.folder}/manifest.json")
    meta = torch.device("meta")
    model = build_model(found["name"], layout=version.layout, settings=settings, table_device=meta)
    load_model(model, version.folder / WEIGHTS, mapped=True)
    return model.eval().requires_grad_(False)

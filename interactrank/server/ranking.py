"""The endpoints that rank."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from interactrank.server.answers import ranking_answer
from interactrank.server.arrow_bodies import ARROW, Columns, read_columns
from interactrank.server.bodies import Body
from interactrank.server.progress import Progress
from interactrank.server.question import Question
from interactrank.server.served import Opened
from interactrank.server.service import Service
from interactrank.server.swap import RecordedRequest
from interactrank.server.validation import JSON, choice_of, content_type, read_body, validated
from interactrank.serving.ranking import Ranking

__all__ = ["Ranker"]


class Ranker:
    """Ranks for a service.

    Args:
        service: whose models rank.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def rank(self, request: Request) -> Response:
        """Rank candidates, or the whole catalogue."""
        limits = self._service.settings.limits
        kind = content_type(request, (JSON, ARROW))
        body, columns = await read_body(request, limits.body_bytes), None
        if kind == ARROW:
            columns = read_columns(body, limits.candidates)
            body = columns.rest
        opened = self._choose(body)
        declared = opened.bodies.rank if columns is None else opened.bodies.ranked_columns
        return await self._answer(request, opened, validated(declared, body), columns)

    async def explain(self, request: Request) -> Response:
        """Rank, and give the parts of each result's score."""
        content_type(request, (JSON,))
        body = await read_body(request, self._service.settings.limits.body_bytes)
        opened = self._choose(body)
        return await self._answer(request, opened, validated(opened.bodies.explain, body), None, explain=True)

    def _choose(self, body: bytes) -> Opened:
        models = self._service.models
        return models.choose(*(choice_of(body) if len(models.names) > 1 else (None, {})))

    async def _answer(
        self,
        request: Request,
        opened: Opened,
        body: Body,
        columns: Columns | None,
        *,
        explain: bool = False,
    ) -> Response:
        asked = body.model_dump(by_alias=True, exclude_unset=True)
        candidates = asked.get("candidates") if columns is None else columns.candidates
        features = asked.get("features") if columns is None else columns.features or None
        k: int = body.k  # type: ignore[attr-defined]
        progress: Progress = request.state.progress
        progress.allow(asked.get("timeout_ms"))
        request.state.facts = {
            **opened.to_json(),
            "candidates": None if candidates is None else len(candidates),
            "k": k,
        }

        shown = self._shown(opened, asked["request"])
        question = Question(opened, asked, asked["request"], candidates, features, k, explain or shown)
        found = await self._service.lane.rank(progress, question)
        self._count(opened, found, progress)
        request_id = uuid.uuid4().hex
        if shown and not explain:
            named = [str(c) for c in candidates] if features and candidates is not None else []
            given = {f: dict(zip(named, values, strict=True)) for f, values in (features or {}).items()}
            self._log(opened, asked["request"], request_id, found, given, shown)
            found = replace(found, explanations=None)
        self._service.models.served[opened.name].recorder.keep(
            RecordedRequest(asked["request"], candidates, features)
        )
        return ranking_answer(request, found, opened, request_id, question.time)

    def _shown(self, opened: Opened, request: Mapping[str, Any]) -> int:
        """Return how many results the request log takes: none of a request without a user."""
        settings, user = self._service.settings.log, opened.ranker.schema.events.user
        return 0 if settings is None or (user and request.get(user) is None) else settings.shown

    def _log(
        self,
        opened: Opened,
        request: Mapping[str, Any],
        request_id: str,
        found: Ranking,
        given: Mapping[str, Mapping[str, Any]],
        shown: int,
    ) -> None:
        log = self._service.log
        assert log is not None
        columns = log.columns
        log.served(lambda: columns.served(request, request_id, found, opened.to_json(), given, shown))

    def _count(self, opened: Opened, found: Ranking, progress: Progress) -> None:
        metrics = self._service.metrics
        metrics.answers.labels(opened.name, opened.version).inc()
        if found.degraded:
            metrics.degraded.labels(opened.name).inc()
        metrics.count_stages(dict(progress.stages))

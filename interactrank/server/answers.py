"""Answers: rankings and explanations as JSON, or as an Arrow stream for those who accept it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from interactrank.server.arrow_bodies import ARROW, write_ranking
from interactrank.server.served import Opened
from interactrank.serving.ranking import Ranking

__all__ = ["json_answer", "milliseconds", "ranking_answer"]


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def milliseconds(at: int | datetime) -> int:
    """Return a time as the pre-ranker reads it: one without a zone is in UTC."""
    if isinstance(at, int):
        return at
    zoned = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
    return int(zoned.timestamp() * 1000)


def ranking_answer(
    request: Request, ranking: Ranking, opened: Opened, request_id: str, at: int | datetime
) -> Response:
    """Return a ranking in what the request accepts.

    Args:
        request: of HTTP.
        ranking: its results.
        opened: who made it.
        request_id: by which engagements name it.
        at: the time for which it was ranked.
    """
    facts: dict[str, Any] = {
        **opened.to_json(),
        "request_id": request_id,
        "time": milliseconds(at),
        "degraded": ranking.degraded,
        "unknown": ranking.unknown,
    }
    if ranking.explanations is not None:
        facts["explanations"] = [{"score": why.score, **asdict(why)} for why in ranking.explanations]
    elif ARROW in request.headers.get("accept", ""):
        return Response(write_ranking(ranking, facts), media_type=ARROW)
    return json_answer({**facts, "ids": ranking.ids, "scores": ranking.scores})

"""A question to one model: a request of ``/rank`` or ``/explain``, validated, by itself or with others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interactrank.server.failures import Refusal
from interactrank.server.progress import Progress, Together
from interactrank.server.served import Opened
from interactrank.server.validation import invalid
from interactrank.serving import RequestError
from interactrank.serving.ranking import Ranking

__all__ = ["Question"]


@dataclass
class Question:
    """Ranks on the thread of a lane; see :class:`~interactrank.server.lane.Job`.

    Args:
        opened: the version that answers.
        asked: body of the request.
        request: its columns; the time is filled in when it is ranked.
        candidates: ids; None for the whole catalogue.
        features: of the candidates.
        k: results at most.
        explain: parts of the scores of that many results, or of all.
    """

    opened: Opened
    asked: Mapping[str, Any]
    request: dict[str, Any]
    candidates: Sequence[str] | None
    features: Mapping[str, Sequence[Any]] | None
    k: int
    explain: bool | int

    @property
    def kind(self) -> Hashable | None:
        """What questions share that are ranked together; None for one with choices of its own."""
        if self.asked.get("filters") or self.asked.get("head_weights"):
            return None
        return id(self.opened), self.k, self.explain

    @property
    def time(self) -> Any:
        """The time for which it was ranked."""
        return self.request[self.opened.ranker.schema.events.time]

    def rank(self, progress: Progress) -> Ranking:
        """Rank it.

        Raises:
            Refusal: it cannot be ranked.
        """
        ranker = self.opened.ranker
        try:
            filters = _given(self.asked.get("filters"))
            where = None
            if filters:
                fields = _given(filters.pop("where", None))
                where = ranker.filters.mask(**filters, where=fields)
            return ranker.rank(
                self._columns(),
                self.candidates,
                self.k,
                where=where,
                features=self.features,
                head_weights=_given(self.asked.get("head_weights")) or None,
                explain=self.explain,
                watch=progress,
            )
        except RequestError as error:
            raise _refusal(error) from None
        except OverflowError as error:
            raise invalid("request", f"request: a number or a time is too large ({error})") from None

    def rank_together(self, all_of_them: Sequence[Question], progress: Sequence[Progress]) -> list[Ranking]:
        """Rank questions of this kind; any error is one of them."""
        features = [of.features for of in all_of_them]
        return self.opened.ranker.rank_many(
            [of._columns() for of in all_of_them],
            [of.candidates for of in all_of_them],
            self.k,
            features=[f for f in features if f is not None] if self.features is not None else None,
            explain=self.explain,
            watch=Together(progress),
        )

    def _columns(self) -> dict[str, Any]:
        """Return the request with its time; a null for the sequence means that of the log."""
        schema = self.opened.ranker.schema
        if self.request.get(schema.events.time) is None:
            self.request[schema.events.time] = self.opened.now()
        if schema.sequence is not None and self.request.get("sequence", 0) is None:
            return {name: value for name, value in self.request.items() if name != "sequence"}
        return self.request


def _refusal(error: RequestError) -> Refusal:
    field = str(error).partition(":")[0]
    return invalid(field if field in ("features", "head_weights") else "request", str(error))


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the entries that are not null."""
    return {name: value for name, value in (values or {}).items() if value is not None}

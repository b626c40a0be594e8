"""What the page is told, as JSON: about the models, suggestions, and the rankings of a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from interactrank.core.settings import near
from interactrank.server.page.columns import Compared, average, compare
from interactrank.server.page.fields import event_columns_of
from interactrank.server.page.inputs import Search
from interactrank.server.page.shown import Shown
from interactrank.serving import PreRanker, RequestError

__all__ = ["Answers", "Rankers"]

Rankers = Callable[[], Mapping[str, PreRanker]]
TWO_TOWER = "two_tower"


class Answers:
    """Answers the page.

    Args:
        rankers: returns the models by their names, each with the version that is served at the moment. The
            page shows the first, or one that people choose, against the one that is a two-tower model.
    """

    def __init__(self, rankers: Rankers) -> None:
        self._rankers = rankers
        self._shown: dict[str, Shown] = {}  # a version that is not served any more is not held

    def about(self, model: str | None) -> dict[str, Any]:
        """Return what the form and the labels of the page are made of."""
        names, shown = self._models(), self._model(model)
        schema, facts = shown.schema, shown.ranker.version.facts
        return {
            "models": names,
            "version": shown.ranker.version.name,
            "items": len(shown.ranker.ids),
            "event_time": shown.ranker.version.event_time,
            "metrics": facts["model"].get("metrics") or {},
            "head_weights": shown.ranker.head_weights,
            "fields": [f._asdict() for f in shown.fields],
            "parts": [p._asdict() for p in shown.parts],
            "events": event_columns_of(schema),
            "sequence": None if schema.sequence is None else schema.sequence.length,
            "sequence_engagements": schema.sequence_engagements,
            "has_user": schema.events.user is not None,
            "suggestions": bool(shown.browse.queries or shown.browse.users),
            "titles": bool(shown.browse.columns),
        }

    def queries(self, model: str | None, typed: str) -> dict[str, Any]:
        """Return queries of the log."""
        shown = self._model(model)
        return {"suggestions": shown.suggest(shown.browse.queries, typed)}

    def users(self, model: str | None, typed: str) -> dict[str, Any]:
        """Return users of the log."""
        shown = self._model(model)
        return {"suggestions": shown.suggest(shown.browse.users, typed)}

    def search(self, search: Search) -> dict[str, Any]:
        """Return the rankings of a search.

        Raises:
            RequestError: it cannot be ranked.
        """
        began = time.perf_counter()
        shown = self._model(search.model)
        if search.time is None:
            search = search.model_copy(update={"time": time.time_ns() // 1_000_000})
        request = shown.request(search)
        live = shown.ranker.read(request)
        found = compare(shown, request, live, search, self._two_tower(shown))
        return {
            "version": shown.ranker.version.name,
            "time": search.time,
            "known_user": bool(search.user) and bool(shown.users.rows([search.user])[0] >= 0),
            "logged": self._logged(shown, search.user),
            "columns": [
                {**c._asdict(), "results": c.results and [r._asdict() for r in c.results]}
                for c in found.columns
            ],
            "items": self._items(shown, found),
            "average": average(shown, request),
            "sequence": shown.sequence(live),
            "milliseconds": round(1000 * (time.perf_counter() - began), 1),
        }

    def _items(self, shown: Shown, found: Compared) -> dict[str, Any]:
        rows = shown.ranker.ids.rows(list(found.judged))
        return {item["id"]: {**item, **found.judged[item["id"]]._asdict()} for item in shown.items(rows)}

    def _logged(self, shown: Shown, user: str | None) -> dict[str, str]:
        """Return what the log says of the user, column by column."""
        table = shown.users.table([user or None])
        if table is None:
            return {}
        values = {name.removeprefix("u_"): table[name].to_pylist()[0] for name in table.column_names}
        return {name: str(value) for name, value in values.items() if value is not None}

    def _models(self) -> list[str]:
        """Return the names of the models that can be chosen: all but two-tower models, or all."""
        rankers = self._rankers()
        return [n for n, r in rankers.items() if not _is_two_tower(r)] or list(rankers)

    def _model(self, name: str | None) -> Shown:
        names = self._models()
        if name is not None and name not in names:
            raise RequestError(f"model: there is none called '{name}'{near(name, names)}")
        chosen = names[0] if name is None else name
        return self._show(chosen, self._rankers()[chosen])

    def _two_tower(self, shown: Shown) -> Shown | None:
        others = ((n, r) for n, r in self._rankers().items() if _is_two_tower(r) and r is not shown.ranker)
        found = next(others, None)
        return None if found is None else self._show(*found)

    def _show(self, name: str, ranker: PreRanker) -> Shown:
        shown = self._shown.get(name)
        if shown is None or shown.ranker is not ranker:
            shown = self._shown[name] = Shown(ranker)
        return shown


def _is_two_tower(ranker: PreRanker) -> bool:
    return bool(ranker.version.facts["model"]["name"] == TWO_TOWER)

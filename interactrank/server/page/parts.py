"""The parts of a score, as people call them: their groups, labels and what their numbers mean."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from interactrank.cross_features import CrossFeature
from interactrank.cross_features.bm25 import Bm25Settings
from interactrank.cross_features.candidate import CandidateSettings
from interactrank.cross_features.engagement_settings import EngagementRateSettings
from interactrank.cross_features.touch import TouchSettings
from interactrank.serving.ranking import Explanation

__all__ = ["BIAS", "DOT", "NETWORK", "Part", "parts_of", "values_of"]

Group = Literal["dot", "query", "words", "all", "user", "lexical", "candidate", "other", "network", "bias"]
DOT, NETWORK, BIAS = "(dot)", "(network)", "(bias)"  # no feature can be called so

_KEYS: dict[str, tuple[Group, str | None]] = {
    "query": ("query", None),
    "compact": ("query", "without blanks"),
    "words": ("words", None),
    "trigrams": ("words", "by letters"),
    "user": ("user", "of all items"),
    "all": ("all", None),
}
_COUNTS = {"share": "share of {}", "rate": "{} per impression", "count": "number of {}"}
_TOUCHES = {"recency": "how long ago", "order": "how many others since", "count": "how often"}


class Part(NamedTuple):
    """One of the numbers that a score is the sum of.

    Args:
        name: of the cross feature, or one of :data:`DOT`, :data:`NETWORK` and :data:`BIAS`.
        group: what it knows about.
        label: what it is within its group, for people.
        means: what ``raw`` and ``support`` are: a ``share`` of a count, engagements and impressions of a
            ``rate``, any other ``number``, or ``none`` without them.
    """

    name: str
    group: Group
    label: str
    means: Literal["share", "rate", "number", "none"]


def parts_of(features: list[CrossFeature[Any]], reads: list[str]) -> list[Part]:
    """Return the parts of a score in the order in which they are stacked.

    Args:
        features: cross features of a schema.
        reads: names of those that the model reads.
    """
    found = [_part(f) for f in features if f.name in reads]
    order: list[Group] = ["query", "words", "all", "user", "other", "candidate", "lexical"]
    found.sort(key=lambda part: order.index(part.group))
    return [
        Part(DOT, "dot", "", "none"),
        *found,
        Part(NETWORK, "network", "", "none"),
        Part(BIAS, "bias", "the same for all items", "none"),
    ]


def values_of(why: Explanation, parts: list[Part]) -> list[float]:
    """Return what each part adds to the score."""
    own = {DOT: why.dot, NETWORK: why.correction, BIAS: why.bias}
    return [own[p.name] if p.name in own else why.features.get(p.name, 0.0) for p in parts]


def _part(feature: CrossFeature[Any]) -> Part:
    s, name = feature.settings, feature.name
    if isinstance(s, EngagementRateSettings):
        group, key = _KEYS[s.key]
        more = [
            None if s.of is None else f"of its {s.of}",
            None if s.window is None else f"last {s.window}",
            None if s.segment is None else f"same {s.segment}",
            key,
            "every word" if s.average == "geometric" else None,
        ]
        label = ", ".join([_COUNTS[s.statistic].format(s.engagement), *(m for m in more if m)])
        return Part(name, group, label, "number" if s.statistic == "count" else s.statistic)
    if isinstance(s, Bm25Settings):
        return Part(name, "lexical", f"{s.analyzer} of {' and '.join(s.columns)}", "number")
    if isinstance(s, TouchSettings):
        of = "this item" if s.of is None else f"this {s.of}"
        more = [None if s.engagement is None else s.engagement, s.within if s.within == "session" else None]
        return Part(
            name, "user", ", ".join([f"{of}: {_TOUCHES[s.statistic]}", *(m for m in more if m)]), "number"
        )
    group = "candidate" if isinstance(s, CandidateSettings) else "other"
    return Part(name, group, name.replace("_", " "), "number")

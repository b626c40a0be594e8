"""Parts of a config's model that an ablation takes away or adds, and the settings without or with them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from interactrank.cross_features import Bm25Settings, EngagementRateSettings
from interactrank.cross_features.item_cosine import CosineSettings
from interactrank.models.settings import DOT_ALONE, LossSettings
from interactrank.runs.config import RunConfig
from interactrank.schema import CrossFeatureSettings

__all__ = ["IQP", "PARTS", "Parts"]

PARTS = (
    *("sequence", "crossing", "sampled_softmax", "log_q"),
    *("iqp_query", "iqp_segment", "iqp_back_off", "lexical", "own"),
)
"""All parts, in the order in which they are added one by one."""

IQP = ("iqp_query", "iqp_segment", "iqp_back_off")
CROSS = (*IQP, "lexical", "own")


class Parts:
    """What a config's model has, what it could have, and the settings of any choice of parts.

    Args:
        config: of the full model.

    Attributes:
        used: parts of the full model, in order.
        offered: parts that it lacks, though the log and the schema allow them, in order.
    """

    used: tuple[str, ...]
    offered: tuple[str, ...]

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        model, schema = config.model, config.search
        # What a config excludes by name, it excludes on purpose: never offered.
        self._cross = [f for f in schema.cross_features if f.name not in model.exclude_features]
        loss = model.loss
        # Where nothing else trains the model, the sampled softmax stays.
        self._needs_sampled_softmax = loss.pointwise_weight + loss.listwise_weight == 0
        crossings = (model.request_tower.crossing, model.item_tower.crossing)
        there = {
            "sequence": model.use_sequence if schema.sequence is not None else None,
            "crossing": crossings != ("none", "none"),
            "sampled_softmax": None if self._needs_sampled_softmax else loss.sampled_softmax_weight > 0,
            "log_q": loss.sampled_softmax_weight > 0 and loss.log_q,
        }
        for part in CROSS:
            read = [model.reads(f) for f in self._features(part)]
            there[part] = any(read) if read else None
        self.used = tuple(part for part in PARTS if there[part] is True)
        self.offered = tuple(part for part in PARTS if there[part] is False)

    def changes(self, parts: Collection[str]) -> dict[str, Any]:
        """Return what differs from the full model in one that has these parts.

        Without the user sequence, a model also lacks the cosines that compare a candidate with it. A model
        that lacks the IQP features that the full model has starts with the dot weight of
        :meth:`ModelSettings.two_tower`: the dot product is all it has. Equal models have equal changes.

        Args:
            parts: some of :data:`PARTS`; ``log_q`` has no effect without ``sampled_softmax``.

        Returns:
            Sections of ``variants``; ``{}`` for the full model.
        """
        model = self.config.model
        changed = self._cross_features(parts) | self._loss(parts)
        if ("sequence" in parts) != ("sequence" in self.used):
            changed["use_sequence"] = "sequence" in parts
        if ("crossing" in parts) != ("crossing" in self.used):
            crossing = {"crossing": "mask_net" if "crossing" in parts else "none"}
            towers = {"request_tower": model.request_tower, "item_tower": model.item_tower}
            changed |= {side: crossing for side, t in towers.items() if t.crossing != crossing["crossing"]}
        return {"model": changed} if changed else {}

    def name(self, part: str) -> str:
        """Return the name of a part, for the names of models: ``mask_net`` for ``crossing``."""
        return self._crossing() if part == "crossing" else part

    def label(self, part: str) -> str:
        """Return the label of a part, for readers."""
        if part == "crossing":
            return {"mask_net": "MaskNet", "dcn": "DCN"}[self._crossing()]
        if part == "iqp_query":
            windows = dict.fromkeys(f.window or "all time" for f in self._rates(part))
            return f"IQP of the query ({', '.join(windows)})"
        if part == "iqp_segment":
            segments = dict.fromkeys(str(f.segment) for f in self._rates(part))
            return f"IQP by segment ({', '.join(segments)})"
        if part == "iqp_back_off":
            keys = dict.fromkeys(_shown(f) for f in self._features(part))
            return f"IQP back-off ({', '.join(keys)})"
        if part == "own":
            kinds = dict.fromkeys(_shown(f) for f in self._features(part))
            return f"own features ({', '.join(kinds)})"
        if part == "sampled_softmax":
            weight = self.config.model.loss.sampled_softmax_weight or _default_weight()
            return f"sampled softmax (weight {weight:g})"
        return {
            "sequence": "user sequence",
            "log_q": "logQ",
            "lexical": "lexical match",
        }[part]

    def _crossing(self) -> str:
        model = self.config.model
        found = [model.request_tower.crossing, model.item_tower.crossing]
        return next((crossing for crossing in found if crossing != "none"), "mask_net")

    def _features(self, part: str) -> list[CrossFeatureSettings]:
        return [f for f in self._cross if _part(f) == part]

    def _rates(self, part: str) -> list[EngagementRateSettings]:
        return [f for f in self._features(part) if isinstance(f, EngagementRateSettings)]

    def _cross_features(self, parts: Collection[str]) -> dict[str, Any]:
        model = self.config.model
        alone = "sequence" in self.used and "sequence" not in parts
        kept = [
            f
            for f in self._cross
            if _part(f) in parts
            and (model.reads(f) or _part(f) in self.offered)
            and not (alone and isinstance(f, CosineSettings))
        ]
        changed: dict[str, Any] = {}
        every = self.config.search.cross_features
        names = [f.name for f in kept]
        if names != [f.name for f in every if model.reads(f)]:
            if not names:
                changed["use_cross_features"] = False
            else:
                changed |= {} if model.use_cross_features else {"use_cross_features": True}
                changed["exclude_features"] = [f.name for f in every if f.name not in names]
        had = any(part in self.used for part in IQP)
        has = any(_part(f) in IQP for f in kept)
        if had and not has and model.initial_dot_weight < DOT_ALONE:
            changed["initial_dot_weight"] = DOT_ALONE
        return changed

    def _loss(self, parts: Collection[str]) -> dict[str, Any]:
        loss = self.config.model.loss
        had = self._needs_sampled_softmax or "sampled_softmax" in self.used
        has = self._needs_sampled_softmax or "sampled_softmax" in parts
        changed: dict[str, Any] = {}
        if has != had:
            changed["sampled_softmax_weight"] = _default_weight() if has else 0.0
        if has and ("log_q" in parts) != loss.log_q:
            changed["log_q"] = "log_q" in parts
        return {"loss": changed} if changed else {}


def _default_weight() -> float:
    """Return the weight of the sampled softmax for a config that does not use it."""
    return float(LossSettings.model_fields["sampled_softmax_weight"].default)


def _part(feature: CrossFeatureSettings) -> str:
    if isinstance(feature, Bm25Settings):
        return "lexical"
    if isinstance(feature, CosineSettings):
        return "iqp_back_off"
    if not isinstance(feature, EngagementRateSettings):
        return "own"
    if feature.key != "query":
        return "iqp_back_off"
    return "iqp_query" if feature.segment is None else "iqp_segment"


def _shown(feature: CrossFeatureSettings) -> str:
    shown = feature.key if isinstance(feature, EngagementRateSettings) else feature.kind
    return shown.replace("_", " ")

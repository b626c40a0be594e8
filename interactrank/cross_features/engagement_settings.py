"""Settings of the kind ``iqp``: what is counted, under which key, and what becomes of the counts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Name, near
from interactrank.schema import CrossFeatureSettings, SearchSchema, parse_duration

__all__ = ["EngagementRateSettings", "rate_of_query"]


class EngagementRateSettings(CrossFeatureSettings):
    """What was engaged with after a key, as a share of the key, as a rate of impressions, or as a count.

    Keys: ``query`` (the paper's), back-offs ``words``, ``trigrams`` and ``compact`` (the query without
    blanks), ``user``, and ``all``.

    Statistics of an item p, with E engagements and I impressions before the request:

    - ``share``: IQP_p(key) = E(p, key) / E(key), the paper's. A request with several keys averages over them:
      ``arithmetic`` averages the shares of the keys that have engagements; ``geometric`` averages over all
      keys the logarithm of (E(p, key) + 1 / N) / (E(key) + 1), N items, so that an item must go well with
      every word.
    - ``rate``: E(p, key) / I(p, key), which the model smooths towards the rate of a wider feature of the
      schema: without segment, then without window, then of key ``all``, then of a field of the item. Needs
      ``events.impressions``.
    - ``count``: log(1 + E(p, key)).

    ``of`` counts over the values of a column of the items file instead of the items, so that a new item
    inherits the past of its brand, and key ``user`` becomes a profile; several values are averaged.
    """

    kind: Literal["iqp"] = "iqp"
    key: Literal["query", "compact", "words", "trigrams", "user", "all"] = "query"
    engagement: Name = Field(description="an engagement, or a head: what its label counts")
    statistic: Literal["share", "rate", "count"] = Field(
        "share", description="share of the key's engagements, rate of impressions, or count"
    )
    of: str | None = Field(
        None, description="a column of the items file: count over its values instead of the items"
    )
    window: str | None = Field(None, description="such as 90d; without it all of the past")
    segment: Name | None = Field(
        None, description="a column of segments: count within the user's own segment"
    )
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    resolution: str = Field(
        "exact",
        description="exact, or the length of a tile such as 1h or 1d: a tile counts when it is over, and "
        "frequent counts need less memory",
    )

    @property
    def name(self) -> str:
        """Such as ``query_click_90d_country`` or ``all_click_of_genres_rate``."""
        parts = [self.key, self.engagement, self.window, self.segment]
        if self.of is not None:
            parts.append(f"of_{self.of}")
        if self.average == "geometric":
            parts.append("geometric")
        if self.statistic != "share":
            parts.append(self.statistic)
        return "_".join(p for p in parts if p)

    @property
    def field_columns(self) -> list[str]:
        """The column of ``of``."""
        return [] if self.of is None else [self.of]

    @property
    def window_ms(self) -> int | None:
        """Length of the window in milliseconds; None for all of the past."""
        return None if self.window is None else parse_duration(self.window)

    @property
    def tile_ms(self) -> int | None:
        """Length of a tile in milliseconds; None for exact times."""
        return None if self.resolution == "exact" else parse_duration(self.resolution)

    def problems(self) -> list[str]:
        """Return what is wrong: durations, and choices that exclude each other."""
        found, lengths = [], {}
        for name in ("window", "resolution"):
            try:
                lengths[name] = getattr(self, "window_ms" if name == "window" else "tile_ms")
            except ValueError as error:
                found.append(f"{name}: {error}{'; or exact' if name == 'resolution' else ''}")
        window, tile = lengths.get("window"), lengths.get("resolution")
        if window and tile and window % tile:
            found.append(
                f"resolution: a window of {self.window} is not a whole number of tiles of {self.resolution}; "
                "choose a window that is, or a shorter tile"
            )
        if self.average == "geometric" and self.key not in ("words", "trigrams"):
            found.append(f"average: geometric needs a key with several values, not '{self.key}'")
        if self.average == "geometric" and (self.statistic != "share" or self.of is not None):
            found.append("average: geometric goes with the share of items alone; leave out statistic and of")
        return found

    def schema_problems(self, schema: SearchSchema) -> list[str]:
        """Return what it names and the schema does not have."""
        found = []
        counted = list(dict.fromkeys([*schema.events.engagements, *schema.head_names]))
        if self.engagement not in counted:
            found.append(f"no engagement '{self.engagement}'{near(self.engagement, counted)}")
        if self.segment is not None and self.segment not in schema.segments:
            found.append(f"no segment '{self.segment}'{near(self.segment, schema.segments)}")
        if self.key == "user" and schema.events.user is None:
            found.append("key user needs events.user")
        if self.of == schema.items.id:
            found.append(f"of: '{self.of}' is the item itself; leave it out")
        if self.statistic == "rate" and not schema.events.impressions:
            found.append(
                "statistic rate divides by impressions, which this log does not have: set "
                "events.impressions if it does, or use statistic share or count"
            )
        return found


def rate_of_query(schema: SearchSchema) -> EngagementRateSettings | None:
    """Return the first C(p, q) / C(q) of a schema, which ranks alone as a baseline; None without one."""
    found = (f for f in schema.cross_features if isinstance(f, EngagementRateSettings))
    plain = (f for f in found if f.statistic == "share" and f.of is None)
    return next((f for f in plain if f.key == "query" and f.window is None and f.segment is None), None)

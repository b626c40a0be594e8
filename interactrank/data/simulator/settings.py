"""The settings of a simulated search log: its size, its text, and how strong each cause of engagement is."""

from __future__ import annotations

from datetime import datetime, timezone

from pydantic import Field

from interactrank.core.settings import Config

COUNTRIES = ("US", "DE", "FR", "BR", "IN", "JP", "GB", "MX", "ES", "IT", "KR", "CA")
"""The countries a user can be from; ``SimulationSettings.countries`` says how many of them are used."""

GENDERS = ("female", "male")


class SimulationSettings(Config):
    """What a simulated search log looks like. Strengths are in logits of the engagement probability.

    The defaults make a log on which a ranker that misses one of the causes is measurably worse: text alone,
    then ids, then the user's recent engagements, then the query-item history. The causes must be frequent
    enough to be learned: count the impressions of an (intent, item) pair within ``affinity_days``, and the
    engagements of a user within ``interest_days``, before making either rarer.

    Example::

        >>> SimulationSettings(users=50, requests=200).candidates_max
        30
    """

    # Size. Memory grows with users, items and intents (times pool), never with requests.
    seed: int = Field(0, ge=0, description="same seed and settings: same log, row for row")
    users: int = Field(1500, ge=1, description="number of users")
    items: int = Field(1000, ge=2, description="number of items in the catalogue")
    intents: int = Field(100, ge=1, description="number of search intents; each has several query texts")
    requests: int = Field(30_000, ge=1, description="number of search requests")
    candidates_min: int = Field(20, ge=1, description="fewest candidates (impressions) of a request")
    candidates_max: int = Field(30, ge=1, description="most candidates (impressions) of a request")
    pool: int = Field(36, ge=1, description="items that retrieval can ever return for one intent")

    # Time.
    start: datetime = Field(
        datetime(2024, 1, 1, tzinfo=timezone.utc), description="time of the first request"
    )
    days: float = Field(120.0, gt=0, description="length of the log in days")
    train_share: float = Field(0.7, gt=0, lt=1, description="share of the time span in the train split")
    validation_share: float = Field(0.08, ge=0, lt=1, description="share of the time span for validation")
    session_requests: float = Field(6.0, ge=1, description="mean number of requests of one user in a row")

    # Text.
    topics: int = Field(12, ge=1, description="number of topics; every item and every intent has one")
    aspects: int = Field(3, ge=1, description="aspects of a topic, each with its own words")
    title_noise: float = Field(0.35, ge=0, le=1, description="share of title words from an unrelated aspect")
    brand_in_title: float = Field(0.85, ge=0, le=1, description="share of titles that name the item's style")
    zipf: float = Field(0.9, ge=0, description="exponent of the head/tail law of the intents")
    late_intents: float = Field(
        0.15, ge=0, lt=1, description="share of intents that appear only during the log"
    )
    rare_queries: float = Field(
        0.05, ge=0, le=1, description="share of requests whose query carries a word that is hardly ever used"
    )

    # People.
    countries: int = Field(4, ge=1, le=len(COUNTRIES), description="number of countries")
    styles: int = Field(5, ge=2, description="styles of items (brands); tastes and interests are about these")
    activity_spread: float = Field(0.8, ge=0, description="log-normal spread of how often users search")

    # Causes of engagement, in logits.
    base: float = Field(-7.9, description="logit of an off-topic item of average quality")
    topic_strength: float = Field(2.0, ge=0, description="item has the topic of the intent")
    aspect_strength: float = Field(2.0, ge=0, description="item has the aspect of the intent")
    quality_strength: float = Field(1.8, ge=0, description="one standard deviation of hidden item quality")
    taste_strength: float = Field(
        0.4, ge=0, description="one standard deviation of a user's taste for a style"
    )
    interest_strength: float = Field(3.7, ge=0, description="item has the style that the user is after now")
    affinity_strength: float = Field(3.7, ge=0, description="item suits the intent for reasons no text shows")
    affinity_density: float = Field(
        0.08, ge=0, le=1, description="share of (intent, item) with such affinity"
    )
    segment_affinity_density: float = Field(
        0.004, ge=0, le=1, description="the same, for one country or one gender only (each of the two)"
    )
    affinity_days: float = Field(
        80.0, gt=0, description="days after which an affinity is drawn again (drift)"
    )
    interest_days: float = Field(60.0, gt=0, description="mean days until a user's present interest moves on")
    short_click_share: float = Field(0.15, ge=0, lt=1, description="mean share of clicks that are regretted")

    # Retrieval and position.
    retrieval_strength: float = Field(0.7, ge=0, description="how much the logged order follows the match")
    off_topic_share: float = Field(
        0.25, ge=0, le=1, description="share of an intent's pool that is off topic"
    )
    prominence: float = Field(
        1.0, ge=0, description="how unevenly items enter the pools: a few are found for many intents"
    )
    position_bias: float = Field(0.1, ge=0, description="examination at position p is p ** -position_bias")
    dense_dimension: int = Field(0, ge=0, description="width of the items' dense vector; 0 writes none")

    def problems(self) -> list[str]:
        """Return what is wrong with sizes and shares taken together."""
        problems = []
        if self.candidates_max < self.candidates_min:
            problems.append(
                f"candidates_max is {self.candidates_max}, below candidates_min {self.candidates_min}; "
                "raise candidates_max"
            )
        if self.pool > self.items:
            problems.append(f"pool is {self.pool}, more than items {self.items}; lower pool or add items")
        if self.candidates_max > self.items:
            problems.append(
                f"candidates_max is {self.candidates_max}, more than items {self.items}; lower candidates_max"
            )
        if self.candidates_max > self.pool:
            problems.append(
                f"candidates_max is {self.candidates_max}, more than pool {self.pool}; "
                "raise pool or lower candidates_max"
            )
        if self.train_share + self.validation_share >= 1:
            problems.append(
                f"train_share + validation_share is {self.train_share + self.validation_share:g}, "
                "which leaves no time for the test split; their sum must be below 1"
            )
        if self.topics > self.items:
            problems.append(f"topics is {self.topics}, more than items {self.items}; lower topics")
        if self.start.tzinfo is None:
            problems.append("start has no time zone; write it in UTC, such as 2024-01-01T00:00:00Z")
        return problems

"""The simulated world: users, items and intents, all drawn once from the seed.

Shapes: U users, I items, Q intents, P pool items of an intent, T query texts of an intent, S styles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interactrank.data.simulator.settings import COUNTRIES, GENDERS, SimulationSettings
from interactrank.data.simulator.words import ASPECT_WORDS, FILLER_WORDS, TITLE_FILLERS, Vocabulary, sentences

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

QUERY_SHARES = (0.7, 0.2, 0.1)
"""How often an intent is typed as its first, second and third query text."""


@dataclass(frozen=True)
class Users:
    """Who searches.

    Attributes:
        country: int64 [U] index into ``COUNTRIES``.
        gender: int64 [U] index into ``GENDERS``.
        taste: float32 [U, S] lasting liking of each style, mean 0 and deviation about 1.
        activity: float64 [U] cumulative share of the sessions, last value 1.
    """

    country: Ints
    gender: Ints
    taste: Floats
    activity: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Items:
    """What is found.

    Attributes:
        topic: int64 [I].
        aspect: int64 [I] within the topic.
        style: int64 [I].
        quality: float32 [I] hidden, standard normal.
        short_click: float32 [I] share of the attracted users that regret, higher for poor quality.
        title: I texts.
        category: I texts, coarser than topics and sometimes wrong.
        price: float32 [I] above 0.
        rating: float32 [I] 1 to 5, a noisy view of the quality.
        vector: float32 [I, dense_dimension] a noisy view of topic and aspect.
    """

    topic: Ints
    aspect: Ints
    style: Ints
    quality: Floats
    short_click: Floats
    title: list[str]
    category: list[str]
    price: Floats
    rating: Floats
    vector: Floats


@dataclass(frozen=True)
class Intents:
    """What is searched for.

    Attributes:
        topic: int64 [Q].
        aspect: int64 [Q].
        popularity: float64 [Q] cumulative share of the requests, last value 1.
        birth: float64 [Q] first moment of the intent, as a share of the log; 0 for most.
        heir: int64 [Q] a lasting intent that is searched instead before ``birth``.
        pool: int64 [Q, P] the items that retrieval can return, all different.
        utility: float32 [Q, P] the part of the engagement logit that user and time do not change.
        match: float32 [Q, P] what retrieval believes about the match.
        query: Q * T texts, the T of one intent in a row.
    """

    topic: Ints
    aspect: Ints
    popularity: npt.NDArray[np.float64]
    birth: npt.NDArray[np.float64]
    heir: Ints
    pool: Ints
    utility: Floats
    match: Floats
    query: list[str]


@dataclass(frozen=True)
class World:
    """Users, items, intents and the words they share."""

    users: Users
    items: Items
    intents: Intents
    vocabulary: Vocabulary


def build_world(settings: SimulationSettings) -> World:
    """Draw the world of a log; the number of requests does not change it.

    Args:
        settings: sizes, strengths and the seed.

    Returns:
        The world; its memory is O(users * styles + items + intents * pool).

    Example::

        >>> world = build_world(SimulationSettings(users=5, items=60, intents=3, topics=2))
        >>> world.intents.pool.shape
        (3, 36)
    """
    users, items, intents = (np.random.default_rng([settings.seed, 0, part]) for part in range(3))
    vocabulary = Vocabulary(topics=settings.topics, aspects=settings.aspects, styles=settings.styles)
    catalogue = _items(settings, vocabulary, items)
    return World(
        users=_users(settings, users),
        items=catalogue,
        intents=_intents(settings, vocabulary, catalogue, intents),
        vocabulary=vocabulary,
    )


def _users(settings: SimulationSettings, rng: np.random.Generator) -> Users:
    shares = 1.0 / np.arange(1, settings.countries + 1)
    country = rng.choice(settings.countries, size=settings.users, p=shares / shares.sum())
    gender = rng.integers(len(GENDERS), size=settings.users)
    # A third of the variance of a taste each from country, gender and the user alone.
    of_country = rng.standard_normal((len(COUNTRIES), settings.styles))
    of_gender = rng.standard_normal((len(GENDERS), settings.styles))
    own = rng.standard_normal((settings.users, settings.styles), dtype=np.float32)
    taste = (of_country[country] + of_gender[gender] + own) / np.sqrt(3)
    activity = np.cumsum(rng.lognormal(sigma=settings.activity_spread, size=settings.users))
    return Users(country, gender, taste.astype(np.float32), activity / activity[-1])


def _items(settings: SimulationSettings, vocabulary: Vocabulary, rng: np.random.Generator) -> Items:
    count = settings.items
    topic = rng.permutation(count) % settings.topics
    aspect = rng.integers(settings.aspects, size=count)
    style = rng.integers(settings.styles, size=count)
    quality = rng.standard_normal(count, dtype=np.float32)
    regret = 1.0 / (1.0 + np.exp(1.5 * quality))
    short_click = np.minimum(2 * settings.short_click_share * regret, 0.99).astype(np.float32)

    named = rng.random((count, 3)) >= settings.title_noise  # the words that tell topic and aspect
    lead = np.where(named, topic[:, None], rng.integers(settings.topics, size=(count, 3)))
    part = np.where(named, aspect[:, None], rng.integers(settings.aspects, size=(count, 3)))
    pick = rng.integers(1 << 30, size=(count, 5))
    brand = np.where(
        rng.random(count) < settings.brand_in_title, vocabulary.style(style, pick[:, 4]), np.int64(-1)
    )
    told = vocabulary.aspect(lead, part, pick[:, :3])
    told[:, 2] = vocabulary.topic(lead[:, 2], pick[:, 2])
    filler = pick[:, 3] % TITLE_FILLERS
    title = sentences(np.column_stack([brand, told, filler]).tolist())

    # Four topics share a category; one item in ten is filed under the wrong one.
    filed = np.where(rng.random(count) < 0.9, topic, rng.integers(settings.topics, size=count)) // 4
    category = [f"department {number + 1}" for number in filed.tolist()]
    level = (
        rng.standard_normal(settings.topics)[topic] * 0.8 + rng.standard_normal(settings.styles)[style] * 0.3
    )
    price = np.exp(3.0 + level + 0.1 * quality + 0.4 * rng.standard_normal(count))
    rating = np.clip(3.6 + 0.5 * quality + 0.5 * rng.standard_normal(count), 1, 5)
    vector = (
        rng.standard_normal((settings.topics, settings.dense_dimension))[topic]
        + rng.standard_normal((settings.topics * settings.aspects, settings.dense_dimension))[
            topic * settings.aspects + aspect
        ]
        + rng.standard_normal((count, settings.dense_dimension))
    )
    return Items(
        topic=topic,
        aspect=aspect,
        style=style,
        quality=quality,
        short_click=short_click,
        title=title,
        category=category,
        price=price.round(2).astype(np.float32),
        rating=rating.round(1).astype(np.float32),
        vector=vector.astype(np.float32),
    )


def _intents(
    settings: SimulationSettings, vocabulary: Vocabulary, items: Items, rng: np.random.Generator
) -> Intents:
    count = settings.intents
    topic = rng.permutation(count) % settings.topics
    aspect = rng.integers(settings.aspects, size=count)
    popularity = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -settings.zipf)
    # The head never appears late: the most popular quarter has always been there.
    lasting = max(1, count // 4)
    late = (rng.random(count) < settings.late_intents) & (np.arange(count) >= lasting)
    birth = np.where(late, rng.random(count), 0.0)
    heir = rng.integers(lasting, size=count)

    pool = _pools(settings, topic, aspect, items, rng)
    on_topic = items.topic[pool] == topic[:, None]
    on_aspect = on_topic & (items.aspect[pool] == aspect[:, None])
    utility = (
        settings.base
        + settings.topic_strength * on_topic
        + settings.aspect_strength * on_aspect
        + settings.quality_strength * items.quality[pool]
    )
    match = on_topic * 1.0 + on_aspect * 1.0 + 0.7 * rng.standard_normal(pool.shape)
    return Intents(
        topic=topic,
        aspect=aspect,
        popularity=popularity / popularity[-1],
        birth=birth,
        heir=heir,
        pool=pool,
        utility=utility.astype(np.float32),
        match=match.astype(np.float32),
        query=_queries(vocabulary, topic, aspect, rng),
    )


def _queries(vocabulary: Vocabulary, topic: Ints, aspect: Ints, rng: np.random.Generator) -> list[str]:
    """Three texts of each intent: two words; the same and a filler; one word."""
    count = len(topic)
    pick = rng.integers(1 << 30, size=(count, 4))
    first = vocabulary.aspect(topic, aspect, pick[:, 0])
    other_aspect_word = vocabulary.aspect(topic, aspect, pick[:, 0] + 1 + pick[:, 1] % (ASPECT_WORDS - 1))
    second = np.where(pick[:, 3] % 2 == 0, other_aspect_word, vocabulary.topic(topic, pick[:, 1]))
    filler = pick[:, 2] % FILLER_WORDS
    none = np.full(count, -1)
    rows = np.stack([first, second, none, filler, first, second, first, none, none], axis=1)
    return sentences(rows.reshape(3 * count, 3).tolist())


def _pools(
    settings: SimulationSettings, topic: Ints, aspect: Ints, items: Items, rng: np.random.Generator
) -> Ints:
    """Draw each intent's pool [Q, P]: mostly items of its topic, its aspect first, the rest off topic."""
    pool = np.empty((settings.intents, settings.pool), dtype=np.int64)
    prominence = settings.prominence * rng.standard_normal(settings.items)
    wanted = settings.pool - round(settings.pool * settings.off_topic_share)
    for number in range(settings.topics):
        intents = np.flatnonzero(topic == number)
        inside = np.flatnonzero(items.topic == number)
        outside = np.flatnonzero(items.topic != number)
        on_topic = max(min(wanted, len(inside)), settings.pool - len(outside))
        off_topic = settings.pool - on_topic
        for row in intents:
            key = (items.aspect[inside] == aspect[row]) + prominence[inside] + rng.gumbel(size=len(inside))
            pool[row, :on_topic] = inside[np.argsort(-key, kind="stable")[:on_topic]]
            pool[row, on_topic:] = outside[rng.choice(len(outside), size=off_topic, replace=False)]
    return pool

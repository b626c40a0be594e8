"""The simulated language: topic, aspect, style and filler words, the titles and the query texts made of them.

A word is a number until it is spelled, so that a vocabulary of any size costs nothing to hold.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

ASPECT_WORDS = 6
TOPIC_WORDS = 4
STYLE_WORDS = 2
FILLER_WORDS = 24
TITLE_FILLERS = 16  # fillers 0..15 stand in titles and in queries, the rest in queries alone
RARE_WORDS = 100_000

_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]  # 70
_SPACE = len(_SYLLABLES) ** 3  # 343,000 words of three syllables
_STRIDE = 104_729  # a prime that shares no factor with 343,000 = 2^3 5^3 7^3: neighbours look unlike


def spell(number: int) -> str:
    """Return the word of a number; different numbers are different words.

    Args:
        number: not negative.

    Returns:
        Three syllables, and one more for each further 343,000 words.

    Example::

        >>> spell(0), spell(1) != spell(2)
        ('bababa', True)
    """
    extra, index = divmod(number, _SPACE)
    index = index * _STRIDE % _SPACE
    word = ""
    for _ in range(3):
        index, syllable = divmod(index, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
    while extra:
        extra, syllable = divmod(extra - 1, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
    return word


class Vocabulary:
    """Numbers of the words of a world: fillers first, then styles, topics, aspects, and rare words last.

    Args:
        topics: number of topics.
        aspects: aspects of each topic.
        styles: number of item styles.

    Example::

        >>> words = Vocabulary(topics=2, aspects=3, styles=4)
        >>> words.aspect(np.array([1]), np.array([2]), np.array([0])) < words.rare(0)
        array([ True])
    """

    def __init__(self, *, topics: int, aspects: int, styles: int) -> None:
        self.aspects = aspects
        self._styles = FILLER_WORDS
        self._topics = self._styles + styles * STYLE_WORDS
        self._aspects = self._topics + topics * TOPIC_WORDS
        self._rare = self._aspects + topics * aspects * ASPECT_WORDS

    def style(self, style: npt.NDArray[np.int64], pick: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of the ``pick``-th word of a style (a brand)."""
        return self._styles + style * STYLE_WORDS + pick % STYLE_WORDS

    def topic(self, topic: npt.NDArray[np.int64], pick: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of the ``pick``-th word that all aspects of a topic share."""
        return self._topics + topic * TOPIC_WORDS + pick % TOPIC_WORDS

    def aspect(
        self, topic: npt.NDArray[np.int64], aspect: npt.NDArray[np.int64], pick: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return the number of the ``pick``-th word of one aspect of a topic."""
        return self._aspects + (topic * self.aspects + aspect) * ASPECT_WORDS + pick % ASPECT_WORDS

    def rare(self, pick: int) -> int:
        """Return the number of the ``pick``-th rare word."""
        return self._rare + pick % RARE_WORDS


def sentences(rows: Iterable[Iterable[int]]) -> list[str]:
    """Spell rows of word numbers; a negative number stands for no word.

    Example::

        >>> sentences([[0, -1, 0], [0]])
        ['bababa bababa', 'bababa']
    """
    cache: dict[int, str] = {}
    out = []
    for row in rows:
        words = []
        for number in row:
            if number >= 0:
                word = cache.get(number)
                if word is None:
                    word = cache[number] = spell(number)
                words.append(word)
        out.append(" ".join(words))
    return out

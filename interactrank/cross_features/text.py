"""Parts of a text and their stable hashes: the keys of engagements and of text matches."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

_PART = re.compile(r"[^\W\d_]+|\d+")


@lru_cache(maxsize=1 << 16)
def normalize(text: str) -> str:
    """Return the text in NFKC, lower case, blanks collapsed.

    Example::

        >>> normalize("  Call of  DUTY ")
        'call of duty'
    """
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _plain(text: str) -> str:
    """Return the text without apostrophes: ``assassin's`` is one word, and the same as ``assassins``."""
    return normalize(text).replace("'", "").replace("\u2019", "")


def words(text: str) -> list[str]:
    """Return runs of letters and runs of digits, so that ``fifa12`` and ``fifa 12`` agree.

    Example::

        >>> words("FIFA12 - Xbox 360")
        ['fifa', '12', 'xbox', '360']
    """
    return _PART.findall(_plain(text))


def compact(text: str) -> str:
    """Return all words in one, so that ``x box`` and ``xbox`` agree.

    Example::

        >>> compact("Black Ops-2")
        'blackops2'
    """
    return "".join(words(text))


def trigrams(text: str) -> list[str]:
    """Return three-letter pieces of :func:`compact` text with its ends marked; robust to typing errors.

    Example::

        >>> trigrams("halo")
        ['^ha', 'hal', 'alo', 'lo$']
    """
    marked = f"^{compact(text)}$"
    return [marked[i : i + 3] for i in range(len(marked) - 2)]


@lru_cache(maxsize=1 << 17)
def hash63(text: str) -> int:
    """Return a hash in 0 .. 2^63 - 1 that is the same on every machine and in every version.

    Example::

        >>> hash63("halo")
        8561817836079598069
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


ANALYZERS = {"words": words, "trigrams": trigrams}

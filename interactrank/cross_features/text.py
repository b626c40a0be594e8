"""Parts of a text and their stable hashes: the keys of engagements and of text matches."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

_PART = re.compile(r"[^\W\d_]+|\d+")
_WITHIN = re.compile(r"(?<=[iI])\u0307")  # lower("\u0130") is an i with a second dot


@lru_cache(maxsize=1 << 16)
def normalize(text: str) -> str:
    """Return the text in NFKC, lower case, blanks collapsed; the Turkish capital of i becomes i.

    Example::

        >>> normalize("  Call of  DUTY ")
        'call of duty'
    """
    return " ".join(_WITHIN.sub("", unicodedata.normalize("NFKC", text).lower()).split())


def _plain(text: str) -> str:
    """Return the text without apostrophes: ``assassin's`` is one word, and the same as ``assassins``."""
    return normalize(text).replace("'", "").replace("\u2019", "")


def words(text: str) -> list[str]:
    """Return runs of letters and runs of digits, so that ``fifa12`` and ``fifa 12`` agree.

    A letter keeps the marks that follow it, such as the vowel signs of Hindi and Tamil. What is not seen
    within a word, such as a soft hyphen or the joiners of Persian, is left out of it.

    Example::

        >>> words("FIFA12 - Xbox 360")
        ['fifa', '12', 'xbox', '360']
    """
    plain = _plain(text)
    return _with_marks(plain) if _has_marks(plain) else _PART.findall(plain)


def _has_marks(text: str) -> bool:
    """Return whether a text has marks, or characters that are not seen; few texts have."""
    if text.isascii():
        return False
    return any(
        unicodedata.category(char)[0] == "M" or unicodedata.category(char) == "Cf" for char in set(text)
    )


def _with_marks(text: str) -> list[str]:
    """Return the words of a text with letters of any script (Unicode categories L, N, M and Cf)."""
    found: list[str] = []
    last = ""  # what the part at the end of ``found`` is made of, if it goes on
    for char in text:
        kind = "digit" if char.isdecimal() else "letter" if char.isalnum() else ""
        if not kind:
            category = unicodedata.category(char)
            if category[0] == "M" and last:
                if last == "letter":
                    found[-1] += char
            elif category != "Cf" or char == "\u200b":  # an invisible blank parts words
                last = ""
            continue
        if kind == last:
            found[-1] += char
        else:
            found.append(char)
        last = kind
    return found


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

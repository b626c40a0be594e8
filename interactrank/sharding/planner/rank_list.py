"""Lists of ranks as short text, for files and tables: ``0-7, 12``."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["parse_ranks", "show_ranks"]

MOST_RANKS = 1_000_000  # a typing error should not fill the memory


def show_ranks(ranks: Iterable[int]) -> str:
    """Return ranks in their order as text; neighbours that count up become a range.

    Example::

        >>> show_ranks([0, 1, 2, 3, 12, 5, 5]), show_ranks([4, 5])
        ('0-3, 12, 5, 5', '4-5')
    """
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], rank]
        else:
            runs.append([rank])
    return ", ".join("-".join(map(str, run)) for run in runs)


def parse_ranks(text: object) -> list[int]:
    """Return the ranks of :func:`show_ranks`'s text.

    Raises:
        ValueError: it is not such a text.

    Example::

        >>> parse_ranks("0-3, 12, 5")
        [0, 1, 2, 3, 12, 5]
    """
    if not isinstance(text, str) or not re.fullmatch(r"\s*\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*\s*", text):
        raise ValueError(f"ranks {text!r}: write them as '0-7' or '3, 5'")
    ranks: list[int] = []
    for run in text.split(","):
        first, _, last = run.strip().partition("-")
        if int(last or first) >= MOST_RANKS:
            raise ValueError(f"ranks {text!r}: {last or first} is more than {MOST_RANKS:,}")
        ranks += range(int(first), int(last or first) + 1)
    if not ranks:
        raise ValueError(f"ranks {text!r}: a range must count up")
    return ranks

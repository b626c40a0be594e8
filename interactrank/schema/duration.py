"""Durations as settings write them."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_HOUR_MS = 3_600_000
_DURATION = re.compile(r"(\d+)\s*(h|d|w|y)")
_UNIT_MS = {"h": _HOUR_MS, "d": 24 * _HOUR_MS, "w": 7 * 24 * _HOUR_MS, "y": 365 * 24 * _HOUR_MS}


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as ``12h``, ``7d``, ``2w`` or ``1y`` (365 days).

    Example::

        >>> parse_duration("2d")
        172800000

    Raises:
        ValueError: it is not a positive number with a unit.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise ValueError(f"'{text}' is not a duration; write a positive number and h, d, w or y, such as 90d")
    return int(match[1]) * _UNIT_MS[match[2]]

"""One rule for ids, whatever a file writes them as: 7, 7.0 and "7" are one id, "007" is another."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

__all__ = ["id_text"]

WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
"""A whole number with a fraction of zeros, as columns that once had a missing value are written in text."""


def id_text(value: Any) -> str | None:
    """Return an id as text; None for what is not an id: None, NaN and text without a character.

    Text keeps its case, its blanks and its leading zeros. ``interactrank.data.raw.sql.identity`` is the same
    rule in SQL.

    Example::

        >>> [id_text(v) for v in (7, 7.0, "7", "7.0", "007", 7.5, float("nan"), "")]
        ['7', '7', '7', '7', '007', '7.5', None, None]
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        return whole[1] if whole else value
    if isinstance(value, (Real, Decimal)) and not isinstance(value, Integral):
        number = value if isinstance(value, Decimal) else float(value)
        if math.isnan(number):
            return None
        if math.isfinite(number) and number == int(number):
            return str(int(number))
    return str(value)

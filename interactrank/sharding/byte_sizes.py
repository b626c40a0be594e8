"""Sizes in bytes, as text.

pydantic's ByteSize reads fewer texts (no ``2e9``, no refusal of 0) and names no units when it refuses one.
"""

from __future__ import annotations

import re

__all__ = ["parse_bytes", "show_bytes"]

_UNITS = {
    **{f"{k}B": 1000**n for n, k in enumerate(("", "K", "M", "G", "T", "P"))},
    **{f"{k}iB": 1024**n for n, k in enumerate(("", "K", "M", "G", "T", "P")) if n},
}


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``80GiB``, ``1.5TB`` or ``4096``.

    Raises:
        ValueError: the text is not a size; names the units.

    Example::

        >>> parse_bytes("80GiB"), parse_bytes("1.5 TB"), parse_bytes("4096")
        (85899345920, 1500000000000, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*([A-Za-z]*)\s*", text)
    units = {name.lower(): size for name, size in _UNITS.items()}
    if match is None or (match[2].lower() or "b") not in units or not float(match[1]):
        raise ValueError(f"'{text}' is not a size above 0; write a number with a unit of {', '.join(_UNITS)}")
    return int(float(match[1]) * units[match[2].lower() or "b"])


def show_bytes(size: float) -> str:
    """Return a size to read, in powers of 1024.

    Example::

        >>> show_bytes(85899345920), show_bytes(1536), show_bytes(12)
        ('80.0 GiB', '1.5 KiB', '12 B')
    """
    for unit, name in ((2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(size) >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} B"

"""Frames: records in a file, each with its length and checksum, so that an unfinished one is told.

A frame is 4 bytes of length, 4 bytes of CRC-32 over length and payload, and the payload.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from interactrank.serving.errors import RequestError

__all__ = ["HEADER", "MAX_PAYLOAD", "decode", "encode", "frame", "frames_in"]

HEADER = struct.Struct("<II")
MAX_PAYLOAD = 1 << 28


def frame(payload: bytes) -> bytes:
    """Return a payload as a frame.

    Example::

        >>> list(frames_in(frame(b"one") + frame(b"two")[:-1]))  # the second is torn
        [(b'one', 11)]
    """
    return HEADER.pack(len(payload), _checksum(payload)) + payload


def frames_in(data: bytes | memoryview, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield the payload of each whole frame, and where it ends; stop at what is none."""
    view = memoryview(data)
    while start + HEADER.size <= len(view):
        size, checksum = HEADER.unpack_from(view, start)
        stop = start + HEADER.size + size
        if not 0 < size <= MAX_PAYLOAD or stop > len(view):
            return
        payload = bytes(view[start + HEADER.size : stop])
        if _checksum(payload) != checksum:
            return
        yield payload, stop
        start = stop


def encode(columns: Mapping[str, list[Any]]) -> bytes:
    """Return columns of events as JSON; times as ISO 8601.

    Raises:
        RequestError: a value is nothing that JSON can hold; names its type.
    """
    return json.dumps(columns, separators=(",", ":"), default=_plain).encode()


def decode(payload: bytes) -> dict[str, list[Any]]:
    """Return the columns that :func:`encode` wrote."""
    return dict(json.loads(payload))


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise RequestError(
        f"an event holds a value of the type {type(value).__name__}; give text, numbers, times, lists or None"
    )

"""What a request is refused with: a status, the field, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Refusal"]


class Refusal(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: for people: what is wrong, and the remedy.
        field: place in the body, such as ``request.query``; None if it is not about one.
        headers: more headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})

    def to_json(self) -> dict[str, dict[str, str | None]]:
        """Return the body of the answer."""
        return {"error": {"code": self.code, "field": self.field, "message": self.message}}


def busy(message: str) -> Refusal:
    """Return the answer of a server that has too much to do."""
    return Refusal(503, "busy", message, headers={"Retry-After": "1"})

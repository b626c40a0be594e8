"""What the page may ask: the bodies of its requests, bounded."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interactrank.serving import RequestError

__all__ = ["MOST_BYTES", "Click", "Search", "read_search"]

MOST_BYTES = 1 << 18
LAST_MOMENT = 253_402_300_799_999  # milliseconds of the year 9999
Text = Annotated[str, Field(max_length=1000)]
Moment = Annotated[int, Field(ge=0, le=LAST_MOMENT)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Click(_Body):
    """An engagement that is tried out, without being recorded."""

    item: Text
    engagement: Text
    time: Moment
    query: Text | None = None


class Search(_Body):
    """A search that somebody looks at."""

    query: Text
    user: Text | None = None
    time: Moment | None = None
    fields: dict[Text, Text | float | None] = Field(default_factory=dict, max_length=100)
    clicks: list[Click] = Field(default_factory=list, max_length=200)
    k: int = Field(10, ge=1, le=100)
    model: Text | None = None


def read_search(body: bytes) -> Search:
    """Read a body.

    Raises:
        RequestError: it is not a search; names the first field that is wrong.
    """
    try:
        return Search.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestError(f"{place}: {first['msg']}") from None

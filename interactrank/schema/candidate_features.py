"""CandidateFeature: a column of the events file that belongs to the pair of a request and an item."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from interactrank.core.settings import Config, Name

__all__ = ["CandidateFeature"]

Form = Literal["value", "centred", "rank"]
MAX_VALUES = 1 << 20


class CandidateFeature(Config):
    """What is known of a candidate when the search is made: a retrieval score, a distance, the price shown.

    Forms of a number x, each a column of the score:

    - ``value``: sign(x) log(1 + abs(x)), so that prices of all sizes can be compared;
    - ``centred``: that, less its mean over the request's candidates, over their standard deviation;
    - ``rank``: the share of the request's other candidates with a smaller number, in 0..1, ties by half.

    An id gets a learned number for each value and head.
    """

    name: Name = Field(description="name of the feature, which no other feature has")
    kind: Literal["number", "id"] = Field(description="a number, or a value out of few")
    column: str = Field(description="column of the events file")
    forms: tuple[Form, ...] = Field(
        ("value", "centred", "rank"), min_length=1, description="of a number: how it enters the score"
    )
    values: int = Field(
        1000, ge=2, le=MAX_VALUES, description="of an id: numbers that are learned; values are hashed to them"
    )

    @property
    def columns(self) -> dict[str, str]:
        """The form of each column of the score that the feature has -> its name; the form of an id is ``id``.

        Example::

            >>> CandidateFeature(name="price", kind="number", column="price", forms=("value", "rank")).columns
            {'value': 'price', 'rank': 'price_rank'}
        """
        if self.kind == "id":
            return {"id": self.name}
        return {form: self.name if form == "value" else f"{self.name}_{form}" for form in self.forms}

    def problems(self) -> list[str]:
        """Return what is wrong: a form twice, or what goes with the other kind."""
        found = []
        if len(set(self.forms)) < len(self.forms):
            found.append("forms: a form is named more than once")
        fields = type(self).model_fields
        if self.kind == "id" and self.forms != fields["forms"].default:
            found.append("forms go with kind number alone")
        if self.kind == "number" and self.values != fields["values"].default:
            found.append("values goes with kind id alone")
        return found

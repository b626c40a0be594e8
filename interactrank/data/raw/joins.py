"""What does not join: how many ids one table names that another has not, an example of each, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from interactrank.data.extras import duckdb

__all__ = ["Unmatched", "unmatched"]

LOOSER = {
    "blanks around": "trim({})",
    "upper and lower case": "lower({})",
    "their Unicode form": "nfc_normalize({})",
    "leading zeros": "coalesce(nullif(ltrim({}, '0'), ''), '0')",
}
"""How ids that mean the same may differ -> SQL under which they are equal."""

SAMPLE = 1000


class Unmatched(NamedTuple):
    """Ids of one table that another does not have.

    Args:
        ids: how many distinct ones.
        known: distinct ids that it does have.
        example: one that is not found.
        other: an id of the other table.
        differ: in what some of them differ from ids of the other table; None if in nothing that is known.
    """

    ids: int
    known: int
    example: str
    other: str
    differ: str | None

    def remark(self, column: str, other: str) -> str:
        """Return a line for a user.

        Example::

            >>> Unmatched(2, 1, "U1", "u1", "upper and lower case").remark("user_id", "users")
            "2 of 3 distinct user_id are not in users, such as 'U1'; users has 'u1' (some differ from those \
of users in upper and lower case alone)"
        """
        why = f" (some differ from those of {other} in {self.differ} alone)" if self.differ else ""
        return (
            f"{self.ids:,} of {self.ids + self.known:,} distinct {column} are not in {other}, such as "
            f"{self.example!r}; {other} has {self.other!r}{why}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for a manifest."""
        return self._asdict()


def unmatched(
    db: duckdb.DuckDBPyConnection, missing: str, known: int, table: str, column: str
) -> Unmatched | None:
    """Return what a table does not have; None if nothing is missing.

    Args:
        db: has the table.
        missing: a query with one column ``id``: distinct ids that the table does not have.
        known: distinct ids that it has.
        table, column: the table, and its column of ids.
    """
    db.execute(f"CREATE OR REPLACE TEMP TABLE missing AS {missing}")
    count, example = db.execute("SELECT count(*), min(id) FROM missing").fetchone()
    other = db.execute(f"SELECT coalesce(min({column}), '') FROM {table}").fetchone()[0]
    differ = _difference(db, table, column) if count else None
    db.execute("DROP TABLE missing")
    if not count:
        return None
    if differ is not None:
        return Unmatched(count, known, differ[1], differ[2], differ[0])
    return Unmatched(count, known, example, other, None)


def _difference(db: duckdb.DuckDBPyConnection, table: str, column: str) -> tuple[str, str, str] | None:
    """Return in what ids differ that mean the same, and an example of each side."""
    for what, form in LOOSER.items():
        found = db.execute(
            f"""SELECT m.id, t.{column} FROM (SELECT id FROM missing ORDER BY id LIMIT {SAMPLE}) m
            JOIN {table} t ON {form.format("m.id")} = {form.format(f"t.{column}")} ORDER BY 1, 2 LIMIT 1"""
        ).fetchone()
        if found:
            return what, *found
    return None

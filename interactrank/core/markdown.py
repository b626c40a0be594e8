"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["bold", "markdown_table"]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown without an end of line.

    Args:
        header: a text for each column.
        rows: as many texts each.

    Example::

        >>> print(markdown_table(["model", "MRR"], [["BM25", "0.6"]]))
        | model | MRR |
        | --- | --- |
        | BM25 | 0.6 |
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def bold(text: str, best: bool = True) -> str:
    """Return the text in bold if it is the best.

    Example::

        >>> bold("0.6"), bold("0.5", best=False)
        ('**0.6**', '0.5')
    """
    return f"**{text}**" if best else text

"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table in Markdown, without a line break at its end.

    Args:
        header: The titles of the columns.
        rows: The cells of each row.
        left: Number of columns that are aligned to the left; the others are aligned to the right. Default: 1.
    """
    marks = [':--' if column < left else '--:' for column in range(len(header))]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (header, marks, *rows))

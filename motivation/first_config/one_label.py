"""Refusing tables with several labels an image, whatever the form in which they have them."""

from typing import Any

from motivation.datasets.image_files import shortlist
from motivation.datasets.label_cells import FLAGS
from motivation.datasets.label_table import Table, read_table
from motivation.errors import ConfigError

# Signs that join the labels of a cell: a semicolon always, the others where their parts also stand in other cells.
_SIGNS = (';', '|')

_PAGE = "docs/data.md, 'Several labels an image', has one for several that trains"


def refuse_several(table: Table, path_column: str, label_column: str) -> None:
    """Check that a table gives each image one label.

    Args:
        table: The table, read with its column of labels.
        path_column: Column of the paths.
        label_column: Column of the labels.

    Raises:
        ConfigError: It has lists of labels, joined ones, columns of 0 and 1 or rows without a label; names an example.
    """
    if label_column not in table.columns:
        flags = _flag_columns(table, path_column)
        if not flags:
            return
        what = f'columns of 0 and 1 for classes ({shortlist(flags)}), which are for several labels an image'
    else:
        cells = table.columns[label_column]
        what = _lists(cells) or _joined([str(cell) for cell in cells if cell not in (None, '')])
        empty = [row for row, cell in enumerate(cells) if cell is None or (isinstance(cell, str) and not cell.strip())]
        if not what and empty:
            what = (
                f'rows without a label, such as line {table.lines[empty[0]]:,}: give each image one or remove it, unless '
                'they have several labels an image'
            )
    if what:
        raise ConfigError(f'{table.file!r} has {what}; init writes configs for one label an image: {_PAGE}')


def _flag_columns(table: Table, path_column: str) -> list[str]:
    """Return the names of all columns of 0 and 1."""
    others = [name for name in table.known if name != path_column]
    columns = read_table(table.file, path_column, others).columns
    return [name for name in others if name in columns and all(str(cell).lower() in FLAGS for cell in columns[name])]


def _lists(cells: Any) -> str:
    lists = [cell for cell in cells if isinstance(cell, list)]
    return f'several labels an image, such as {max(lists[:100], key=len)!r}' if lists else ''


def _joined(cells: list[str]) -> str:
    names = sorted(set(cells))
    for sign in _SIGNS:
        joined = [name for name in names if sign in name]
        alone = {name.strip() for name in names}
        if sign != ';':
            joined = [name for name in joined if all(part.strip() in alone for part in name.split(sign))]
        if joined:
            return f'several labels an image, such as {joined[0]!r}'
    return ''

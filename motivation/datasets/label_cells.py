"""Reading the labels of a table: one column of names, or one of 0 and 1 for each class."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from motivation.datasets.class_list import read_classes
from motivation.datasets.image_files import composed, natural_key, shortlist
from motivation.datasets.label_table import Table
from motivation.errors import ArgumentError, near_matches, shortened

# Cells that say in the column of a class whether an image has it.
FLAGS = {'0': 0, '1': 1, '0.0': 0, '1.0': 1, 'false': 0, 'true': 1}


class Columns(NamedTuple):
    """Which columns of a file hold what; see :class:`~motivation.datasets.LabelFileDataset` for each."""

    path: str
    label: str
    labels: Sequence[str]
    split: str | None
    separator: str


class Labels(NamedTuple):
    """The labels of the N images of a split, of K classes.

    Attributes:
        values: int64 (N,), class indices; or uint8 (N, K) of 0 and 1 for several labels an image.
        classes: Names of the K classes.
        remarks: One clause for each kind of label that may be a mistake.
    """

    values: np.ndarray
    classes: list[str]
    remarks: list[str]


def read_labels(
    table: Table, columns: Columns, rows: Sequence[int], several: bool, classes: Sequence[str] | str | None
) -> Labels:
    """Read the labels of some rows of a table.

    Args:
        table: The table.
        columns: Names of its columns.
        rows: Numbers of the rows, from 0.
        several: Whether an image has any number of labels.
        classes: See :class:`~motivation.datasets.listed_files.ListedFiles`.

    Raises:
        ArgumentError: A column is missing, or a label is missing or no class; names the line.
    """
    given = None if classes is None else read_classes(classes)
    remarks = []
    if columns.labels:
        names = [composed(name) for name in columns.labels]
        order = names if given is None else given
        index_of = _index_of(order)
        matrix = np.zeros((len(rows), len(order)), np.uint8)
        matrix[:, [index_of(name, 'label_columns', 'has') for name in names]] = _flags(table, columns.labels, rows)
        values = matrix if several else _single(table, rows, matrix)
    else:
        cells = table.column('label_column', columns.label)
        read = _Cells(table, columns, several)
        order = given or sorted({name for row, cell in enumerate(cells) for name in read(cell, row)}, key=natural_key)
        if not order:
            raise ArgumentError('label_column', f'is {columns.label!r}, which is empty in every row of {table.file!r}')
        indices = _indices(table, columns.label, order, [(row, read(cells[row], row)) for row in rows])
        values = _one_hot(indices, len(order)) if several else np.array([own[0] for own in indices])
        empty = [table.lines[row] for row, own in zip(rows, indices, strict=True) if not own and cells[row] != []]
        if empty:
            more = ', ...' if len(empty) > 1 else ''
            remarks.append(f'images without a label: {len(empty):,} (line {empty[0]:,}{more})')
    used = np.asarray(values.any(0)) if several else np.isin(np.arange(len(order)), values)
    unused = [name for name, is_used in zip(order, used, strict=True) if not is_used]
    if unused:
        remarks.append(f'classes without images: {len(unused):,} ({shortlist(unused)})')
    return Labels(values, order, remarks)


class _Cells:
    """Reads the cells of a label column: the names of the classes of a row.

    Args:
        table: The file.
        columns: Names of its columns.
        several: Whether there may be any number of them.
    """

    def __init__(self, table: Table, columns: Columns, several: bool) -> None:
        self.table, self.column, self.separator, self.several = table, columns.label, columns.separator, several
        self._known: dict[Any, tuple[str, ...]] = {}  # cells repeat

    def __call__(self, cell: Any, row: int) -> tuple[str, ...]:
        try:
            return self._known[cell]
        except KeyError:
            names = self._known[cell] = self._read(cell, row)
            return names
        except TypeError:  # a list
            return self._read(cell, row)

    def _read(self, cell: Any, row: int) -> tuple[str, ...]:
        items = cell if isinstance(cell, list) else [cell]
        if self.several and isinstance(cell, str):
            items = [part for part in cell.split(self.separator) if part.strip()]
        if cell is None:
            items = []
        for item in items:
            if not isinstance(item, (str, int)) or isinstance(item, bool):
                self._refuse(row, f'is {shortened(item)}, which is neither text nor a whole number; correct it')
        if isinstance(cell, list) and not self.several:
            self._refuse(row, f'is a list, {shortened(cell)}; write several_labels=True for several labels an image')
        names = tuple(dict.fromkeys(composed(str(item).strip()) for item in items))
        if not self.several and not (names and names[0]):
            self._refuse(row, 'is empty; give the image a label or remove it')
        return names

    def _refuse(self, row: int, problem: str) -> None:
        raise ArgumentError('file', f'{self.table.at(row)} {self.column} {problem}')


def _index_of(order: Sequence[str]) -> Callable[[str, str, str], int]:
    """Return a function that looks up the index of a class by its name, or by its number if no name is a number."""
    index_of = {name: index for index, name in enumerate(order)}
    if not any(name.lstrip('-').isdigit() for name in order):
        index_of |= {str(index): index for index in range(len(order))}

    def look_up(name: str, argument: str, place: str) -> int:
        if name not in index_of:
            raise ArgumentError(
                argument, f'{place} {name!r} is none of the {len(order):,} classes; {near_matches(name, order)}'
            )
        return index_of[name]

    return look_up


def _indices(
    table: Table, column: str, order: Sequence[str], named: Iterable[tuple[int, tuple[str, ...]]]
) -> list[tuple[int, ...]]:
    """Return the class indices of each row."""
    index_of = _index_of(order)
    known: dict[tuple[str, ...], tuple[int, ...]] = {}
    for row, names in (named := list(named)):
        if names not in known:
            known[names] = tuple(index_of(name, 'file', f'{table.at(row)} {column}') for name in names)
    return [known[names] for _, names in named]


def _one_hot(indices: Sequence[tuple[int, ...]], classes: int) -> np.ndarray:
    rows = np.zeros((len(indices), classes), np.uint8)
    for row, own in zip(rows, indices, strict=True):
        row[list(own)] = 1
    return rows


def _flags(table: Table, names: Sequence[str], rows: Sequence[int]) -> np.ndarray:
    """Return the zeros and ones of the columns of classes, (N, number of names)."""
    flags = np.zeros((len(rows), len(names)), np.uint8)
    for place, name in enumerate(names):
        cells = table.column('label_columns', name)
        for number, row in enumerate(rows):
            flag = FLAGS.get(str(cells[row]).lower())
            if flag is None:
                raise ArgumentError('file', f'{table.at(row)} {name} must be 0 or 1, got {shortened(cells[row])}')
            flags[number, place] = flag
    return flags


def _single(table: Table, rows: Sequence[int], matrix: np.ndarray) -> np.ndarray:
    """Return the class index of each row of zeros and ones, of which exactly one is 1."""
    sums = matrix.sum(1)
    wrong = np.flatnonzero(sums != 1)
    if len(wrong):
        raise ArgumentError(
            'file',
            f'{table.at(rows[wrong[0]])} has {sums[wrong[0]]} labels; give each image one, or write several_labels=True',
        )
    return matrix.argmax(1)

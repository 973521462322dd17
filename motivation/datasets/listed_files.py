"""Image files with the labels that a table gives them."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import ImageFile

from motivation.datasets.image_files import shortlist
from motivation.datasets.image_folder import open_file
from motivation.datasets.label_cells import Columns, read_labels
from motivation.datasets.label_table import Table, read_table
from motivation.errors import ArgumentError, shortened


class ListedFiles:
    """Image files that a CSV, TSV or JSON lines file lists, opened in any order.

    Legend: N images of the split, K classes.

    Args:
        file: Path of the file.
        root: Folder that paths in it are relative to.
        split: The rows to take: those with this value in the column of splits; ``None`` for all.
        columns: Names of the columns.
        several_labels: Whether an image has any number of labels.
        classes: See :func:`~motivation.datasets.class_list.read_classes`; ``None`` for the labels of all rows, of every
            split, in natural order, or the names of ``columns.labels``.
        allow_missing: Whether an image file may be missing; it is then unreadable.

    Attributes:
        samples: Path of each image, and its class index or row of K zeros and ones.
        targets: int64 (N,), or uint8 (N, K) for several labels.
        class_to_idx: Class index by name.
        remarks: One clause for each kind of row that may be a mistake.

    Raises:
        ArgumentError: The file cannot be read, a row is invalid or an image file is missing; names the line.
    """

    def __init__(
        self,
        file: str,
        root: str,
        split: str | None,
        columns: Columns,
        several_labels: bool,
        classes: Sequence[str] | str | None,
        allow_missing: bool,
    ) -> None:
        wanted = [*(columns.labels or [columns.label]), *([columns.split] if columns.split else [])]
        table = read_table(file, columns.path, wanted)
        rows = _rows_of(table, columns.split, split)
        labels = read_labels(table, columns, rows, several_labels, classes)
        paths = _paths(table, columns.path, root)
        self.class_to_idx = {name: index for index, name in enumerate(labels.classes)}
        self.targets = torch.from_numpy(labels.values)
        own: Iterable[Any] = labels.values if several_labels else labels.values.tolist()
        self.samples = [(paths[row], label) for row, label in zip(rows, own, strict=True)]
        self.remarks = labels.remarks
        self.remarks += _repeated(table, paths, rows, dict(zip(rows, self.samples, strict=True)))
        missing = _missing([(row, paths[row]) for row in rows])
        if missing and not allow_missing:
            row, path = missing[0]
            more = f', nor do {len(missing) - 1:,} others' if len(missing) > 1 else ''
            raise ArgumentError(
                'file',
                f'{table.at(row)} the image {path!r} does not exist{more}; correct the path, or root, which is {root!r}',
            )
        if missing:
            self.remarks.append(
                f'images that do not exist: {len(missing):,} ({shortlist(path for _, path in missing)})'
            )

    def __len__(self) -> int:
        return len(self.samples)

    def open(self, index: int) -> ImageFile.ImageFile:
        """Open an image without decoding it; close it after use."""
        return open_file(self.samples[index][0])


def _rows_of(table: Table, column: str | None, split: str | None) -> list[int]:
    """Return the numbers of the rows of a split."""
    if column is None or (split is None and column not in table.columns):
        if split is not None:
            raise ArgumentError('split_column', f'is None, and split is {split!r}; name the column, or leave split out')
        return list(range(len(table.lines)))
    cells = [str(cell) for cell in table.column('split_column', column)]
    counts = ', '.join(f'{name!r} {count:,}' for name, count in Counter(cells).most_common(8))
    if split is None:
        raise ArgumentError(
            'split',
            f'is left out, and {table.file!r} has a column {column!r} ({counts}); name one of these, or write '
            'split_column=None for all rows',
        )
    rows = [row for row, cell in enumerate(cells) if cell == split]
    if not rows:
        raise ArgumentError('split', f'is {split!r}, and column {column!r} of {table.file!r} has only {counts}')
    return rows


def _paths(table: Table, column: str, root: str) -> list[str]:
    """Return the path of the image of every row."""
    paths = []
    for row, cell in enumerate(table.column('path_column', column)):
        if not isinstance(cell, str) or not cell:
            raise ArgumentError('file', f'{table.at(row)} {column} must be a path, got {shortened(cell)}')
        paths.append(os.path.normpath(os.path.join(root, cell)))  # noqa: PTH118, four times as fast as Path
    return paths


def _repeated(
    table: Table, paths: Sequence[str], rows: Sequence[int], samples: Mapping[int, tuple[str, Any]]
) -> list[str]:
    """Return remarks on images that are listed more than once, after checking that their labels agree."""
    first: dict[str, int] = {}
    twice = []
    for row in rows:
        other = first.setdefault(paths[row], row)
        if other == row:
            continue
        twice.append(paths[row])
        if not np.array_equal(samples[other][1], samples[row][1]):
            raise ArgumentError(
                'file',
                f'{table.at(row)} {paths[row]!r} has other labels than in line {table.lines[other]:,}; keep one of the two, '
                'with all labels of the image in it',
            )
    return [f'images listed more than once: {len(twice):,} ({shortlist(dict.fromkeys(twice))})'] if twice else []


def _missing(files: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the rows and paths of files that do not exist, by one listing of each folder."""
    listings: dict[str, frozenset[str]] = {}
    missing = []
    for row, path in files:
        folder, _, name = path.rpartition(os.sep)
        if folder not in listings:
            try:
                listings[folder] = frozenset(os.listdir(folder or (os.sep if path.startswith(os.sep) else '.')))  # noqa: PTH208
            except OSError:
                listings[folder] = frozenset()
        # A listing may spell a name in another Unicode form, or in other letters, than the file system accepts.
        if name not in listings[folder] and not os.path.lexists(path):
            missing.append((row, path))
    return missing

"""Reading tables of text: CSV, TSV and JSON lines, with the line of every row."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from motivation.errors import ArgumentError, near_matches, shortened

# Extensions of the files.
_JSON_LINES, _SEPARATED = ('.jsonl', '.ndjson'), ('.csv', '.tsv', '.txt')

# What separates the cells of a row; the first that finds the column of paths in the header does.
_DELIMITERS = ',;\t'


class Table(NamedTuple):
    """Columns of a file.

    Attributes:
        file: Its path.
        lines: Line number of each of the N rows, from 1.
        columns: N cells by the name of the column, of the columns that were asked for: stripped text, or of JSON lines
            any value.
        known: Names of all columns.
    """

    file: str
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    known: Sequence[str]

    def at(self, row: int) -> str:
        """Return the place of a row for messages: ``'labels.csv', line 3``."""
        return f'{self.file!r}, line {self.lines[row]:,}:'

    def column(self, field: str, name: str) -> Sequence[Any]:
        """Return the cells of a column.

        Args:
            field: The argument that names it, for the message.
            name: Its name.

        Raises:
            ArgumentError: There is no such column.
        """
        if name not in self.columns:
            raise ArgumentError(
                field, f'is {name!r}, and {self.file!r} has no such column; {near_matches(name, self.known)}'
            )
        return self.columns[name]


def read_table(file: str, path_column: str, others: Sequence[str]) -> Table:
    """Read the columns of a file: CSV or TSV with a header, or one JSON object a line.

    Cells of CSV are separated by commas, semicolons or tabs, by whichever gives the header the column of paths, and quoted
    as in RFC 4180. The file is in UTF-8, with or without a byte order mark; lines end with LF or CRLF; blank lines are
    ignored.

    Args:
        file: Path of the file, ``.csv``, ``.tsv`` or ``.txt``, ``.jsonl`` or ``.ndjson``.
        path_column: Name of a column that every row has.
        others: Names of further columns. A row of JSON lines that lacks one has ``None``.

    Raises:
        ArgumentError: The file is missing, cannot be read or is not of such a form; names its line.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in (*_JSON_LINES, *_SEPARATED):
        known = ', '.join((*_SEPARATED, *_JSON_LINES))
        raise ArgumentError(
            'file', f'is {file!r}, whose name must end with {known}; a JSON file holds one object a line'
        )
    text = _text(file)
    table = (
        _json_lines(file, text, [path_column, *others])
        if suffix in _JSON_LINES
        else _separated(file, text, path_column, others)
    )
    if not table.lines:
        raise ArgumentError('file', f'{file!r} has no rows; give one an image')
    return table


def _text(file: str) -> str:
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise ArgumentError('file', f'{file!r} cannot be read ({error.strerror}); correct the path') from error
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise ArgumentError('file', f'{file!r}, line {line:,}: is not in UTF-8; save the file as UTF-8') from error


def _separated(file: str, text: str, path_column: str, others: Sequence[str]) -> Table:
    first = re.split('[\r\n]', text.lstrip('\r\n'), maxsplit=1)[0]
    delimiter = next((sign for sign in _DELIMITERS if path_column in _cells(first, sign)), None)
    if delimiter is None:
        header = max((_cells(first, sign) for sign in _DELIMITERS), key=len)
        raise ArgumentError(
            'path_column',
            f'is {path_column!r}, and the first line of {file!r} has no such column; {near_matches(path_column, header)}',
        )
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True, skipinitialspace=True)
    begins = 1  # a quoted cell may hold line breaks, and the reader knows the last line of a row
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ArgumentError(
            'file', f'{file!r}, line {begins:,}: is not CSV ({error}); is a quotation mark closed?'
        ) from error
    header, *rows = [[cell.strip() for cell in row] for row in rows]
    twice = [name for name, count in Counter(header).items() if count > 1 and name in (path_column, *others)]
    if twice:
        raise ArgumentError('file', f'{file!r} has two columns {twice[0]!r}; rename one')
    for line, row in zip(lines[1:], rows, strict=True):
        if len(row) != len(header):
            raise ArgumentError(
                'file',
                f'{file!r}, line {line:,}: has {len(row)} cells, and the header {len(header)}; quote a cell that holds '
                f'{delimiter!r}',
            )
    cells = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
    return Table(file, lines[1:], {name: cells[name] for name in (path_column, *others) if name in cells}, header)


def _cells(line: str, delimiter: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [cell.strip() for cell in cells]


def _json_lines(file: str, text: str, names: Sequence[str]) -> Table:
    rows, lines = [], []
    for line, row in _objects(file, text):
        if row.get(names[0]) is None:
            raise ArgumentError(
                'path_column',
                f'is {names[0]!r}, and {file!r}, line {line:,}: has no such field; {near_matches(names[0], row)}',
            )
        rows.append(row)
        lines.append(line)
    known = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names if name in known}
    return Table(file, lines, columns, known)


def _objects(file: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(text.split('\n'), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(
                'file', f'{file!r}, line {line:,}: is not JSON ({error}); write one object a line'
            ) from error
        if not isinstance(row, dict):
            raise ArgumentError('file', f'{file!r}, line {line:,}: is {shortened(row)}; write one object a line')
        yield line, row

"""The packages ("rooms") and which of them may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / 'motivation'

# From the lowest floor to the highest: a room may import from lower floors and from itself.
FLOORS = [
    {'errors', 'structures'},
    {'utils'},
    {'registry'},
    {'policies', 'weight_maps', 'datasets', 'evaluation'},
    {'method'},
    {'models'},
    {'compute', 'config'},
    {'report'},
    {'export'},
    {'engine'},
    {'hooks', 'executors'},
    {'comparison', 'cli', 'checkpoint_models', 'first_config'},
    {'commands'},
    {'__main__'},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Rooms within a room, likewise: they import from those before them, and never from the other files of the room.
INNER_FLOORS = {
    'engine': [{'optim', 'loggers'}, {'checks'}],
    'export': [{'runtimes'}],
    'weight_maps': [{'tracing'}],
}

FILES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def _imports(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the parts of every import from this package: ``('engine', 'optim', 'step', 'StepExchange')``."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, *parts = name.split('.')
            if package == 'motivation' and parts and not parts[0].startswith('__'):
                yield tuple(parts)


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_from_its_own_or_a_higher_floor(path):
    room = _room(path)
    upwards = {
        other for other, *_ in _imports(ast.parse(path.read_text()))
        if other != room and FLOOR_OF[other] >= FLOOR_OF[room]
    }  # fmt: skip
    assert not upwards


@pytest.mark.parametrize('room', INNER_FLOORS)
def test_no_room_within_a_room_imports_from_its_own_or_a_higher_floor(room):
    lower: set[str] = set()
    for floor in INNER_FLOORS[room]:
        for inner in floor:
            files = [path for path in FILES if path.is_relative_to(PACKAGE / room / inner)]
            others = {
                rest[0]
                for path in files
                for other, *rest in _imports(ast.parse(path.read_text()))
                if other == room and rest
            }
            assert files and others <= lower | {inner}
        lower |= floor


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_import_inside_a_function_has_a_comment(path):
    text = path.read_text()
    lines = text.splitlines()
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes = (node for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom)))
            imports = sorted((node.lineno, node.end_lineno) for node in nodes)
            explained, last = [], -1
            for first, end in imports:
                follows = last >= 0 and not ''.join(lines[last : first - 1]).strip()  # in one block of imports
                if '#' in lines[first - 1] or lines[first - 2].strip().startswith('#') or follows:
                    explained.append((first, end))
                    last = end
            assert imports == explained, f'{function.name}, line {imports[0][0]}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_at_most_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300

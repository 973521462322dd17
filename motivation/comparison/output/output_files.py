"""The files of a comparison: Markdown, JSON, CSV and the picture."""

import json
import math
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from motivation.comparison.output.picture import draw_comparison
from motivation.comparison.output.render import render_markdown
from motivation.comparison.output.tables import render_csv
from motivation.utils.files import read_object, write_whole


def write_comparison(comparison: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``compare.md``, ``compare.json``, ``compare.png`` and ``compare.csv``, each whole or not at all.

    An earlier comparison with arms or seeds that this one lacks, by another test, or by a sequential test of claims that this
    one lacks, is kept, renamed to ``compare-1.md`` and so on, with its ``compare.html``.

    Args:
        comparison: Data of the comparison, with its differences and claims.
        folder: Folder to write to.

    Returns:
        Paths of the written files.

    Raises:
        ConfigError: There is a ``compare.json`` that is damaged.
        OSError: A file cannot be written.
    """
    paths = [folder / f'compare.{suffix}' for suffix in ('md', 'json', 'png', 'csv')]
    if paths[1].is_file() and not _covers(comparison, read_object(paths[1], 'restore or delete it')):
        number = 1 + len(list(folder.glob('compare-*.json')))
        for path in [*paths, folder / 'compare.html']:
            if path.is_file():  # a comparison of an earlier version has fewer files
                path.rename(path.with_stem(f'compare-{number}'))
    texts = {0: render_markdown(comparison), 1: dump(comparison), 3: render_csv(comparison)}
    for place, text in texts.items():
        write_whole(paths[place], methodcaller('write', text.encode()))
    write_whole(paths[2], partial(draw_comparison, comparison))
    return paths


def dump(comparison: dict[str, Any]) -> str:
    """Return a comparison as JSON, in which a number that is not finite is null, as the standard has no such numbers."""
    return json.dumps(finite(comparison), indent=1, allow_nan=False) + '\n'


def finite(node: Any) -> Any:
    """Return plain data with ``None`` for numbers that are not finite."""
    if isinstance(node, dict):
        return {name: finite(value) for name, value in node.items()}
    if isinstance(node, list):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _covers(comparison: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Return whether a comparison has every run of an earlier one and its test, and every claim of a sequential one."""

    def contents(one: dict[str, Any]) -> set[tuple[Any, ...]]:
        test = one.get('test', {'kind': 'fixed'})['kind']  # a version without a schema knew no other
        claims = {(claim['claim'],) for claim in one['claims'] if test == 'sequential'}
        return {(test,), *claims, *((arm['arm'], run['seed']) for arm in one['arms'] for run in arm['runs'])}

    return 'arms' in earlier and contents(comparison) >= contents(earlier)

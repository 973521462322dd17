"""The page of a comparison: one HTML file that needs no network and no other file."""

import json
from importlib import metadata
from operator import methodcaller
from pathlib import Path
from string import Template
from typing import Any

from motivation.comparison.output.output_files import finite
from motivation.comparison.output.page_runs import read_timelines, runs_table
from motivation.comparison.output.page_tables import (
    claims_table,
    differences_table,
    equal_flops_tables,
    inline,
    results_table,
    unfinished_list,
)
from motivation.comparison.output.render import (
    RESULTS_NOTE,
    about,
    claims_note,
    equal_flops_note,
    spread_note,
    uncounted,
)
from motivation.errors import ConfigError
from motivation.report.metric_units import named
from motivation.utils.files import write_whole

_PARTS = Path(__file__).parent


def require_plotly() -> None:
    """Check that plotly is installed, whose script draws the curves.

    Raises:
        ConfigError: It is not.
    """
    try:
        metadata.version('plotly')
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            "--html draws its curves with plotly, which is not installed: run 'pip install plotly', or leave --html out"
        ) from error


def write_page(comparison: dict[str, Any], folder: Path) -> Path:
    """Write ``compare.html`` whole or not at all.

    It has the tables of ``compare.md``, which can be sorted; curves of the metric of each model over training FLOPs and
    epochs, of each arm and each run; and which batches of each run were motivated. The script of plotly is in the file
    (5 MB); a content security policy in it forbids every request.

    Args:
        comparison: Data of the comparison, with its differences and claims.
        folder: Folder to write to.

    Returns:
        Path of the file.

    Raises:
        ConfigError: A switch trace is damaged.
        OSError: The file cannot be written.
    """
    path = folder / 'compare.html'
    write_whole(path, methodcaller('write', render_page(comparison).encode()))
    return path


def render_page(comparison: dict[str, Any]) -> str:
    """Return a comparison as an HTML page.

    Args:
        comparison: Data of the comparison, with its differences and claims.

    Raises:
        ConfigError: A switch trace is damaged.
    """
    # Only pages need it, and importing it takes a second.
    from plotly.offline import get_plotlyjs

    timelines = read_timelines(comparison)
    template = Template((_PARTS / 'page.html').read_text(encoding='utf-8'))
    return template.substitute(
        title=inline(f'Comparison of {len(comparison["arms"])} arms: {Path(comparison["config"]).stem}'),
        about=inline(about(comparison)),
        metric=inline(named(comparison['metric'])),
        results=results_table(comparison),
        results_note=inline(' '.join(filter(None, (spread_note(comparison), RESULTS_NOTE, uncounted(comparison))))),
        unfinished=unfinished_list(comparison),
        differences=differences_table(comparison),
        claims=claims_table(comparison),
        claims_note=inline(claims_note(comparison)),
        equal_flops=equal_flops_tables(comparison),
        equal_flops_note=inline(equal_flops_note(comparison)),
        runs=runs_table(comparison, timelines),
        style=(_PARTS / 'page.css').read_text(encoding='utf-8'),
        script=(_PARTS / 'page.js').read_text(encoding='utf-8'),
        plotly=get_plotlyjs(),
        comparison=_embedded(finite(comparison)),
        timelines=_embedded(timelines),
    )


def _embedded(data: Any) -> str:
    """Return data as JSON that no text in it can end early: without the characters of HTML."""
    text = json.dumps(data, separators=(',', ':'))
    return text.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')

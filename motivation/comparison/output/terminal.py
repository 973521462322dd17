"""The results of a comparison as a table for the terminal."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from motivation.comparison.output.render import arms_and_standalone, front_note, marked, mean_of, uncounted
from motivation.comparison.results import BASELINES
from motivation.errors import counted
from motivation.report.metric_units import form_of, named
from motivation.structures import MODEL_NAMES

# Rows of the table at most.
_MOST_ROWS = 30


def build_table(comparison: dict[str, Any]) -> Table:
    """Return the results as a table for the terminal, with fewer columns than the Markdown."""
    table = Table(
        title=f'{named(comparison["metric"])}, and training compute',
        title_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    form = form_of(comparison['metric'])
    shown = _shown(comparison)
    table.add_column('arm', overflow='fold')
    for name in ('base', 'motivated', 'FLOPs', 'saving', 'motivated\nbatches'):
        table.add_column(name, justify='right', no_wrap=True)
    for arm in shown:
        own = arm['summary']
        table.add_row(
            arm['arm'],
            *(marked(arm, name, form, ' ') for name in MODEL_NAMES),
            mean_of(own['total_train_flops'], '.3g'),
            mean_of(own['saving'], '.2f', ' x'),
            mean_of(own['motivated_fraction'], '.1%'),
        )
    left = len(arms_and_standalone(comparison)) - len(shown)
    table.caption = ' '.join(
        filter(
            None,
            (
                front_note(comparison),
                f'{counted(left, "more arm")} in compare.md.' if left else '',
                uncounted(comparison),
            ),
        )
    )
    return table


def _shown(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows for the terminal: all, or of many the baselines and the fronts."""
    arms = arms_and_standalone(comparison)
    if len(arms) <= _MOST_ROWS:
        return arms
    return [arm for arm in arms if arm.get('pareto', True) or arm['kind'] in BASELINES][:_MOST_ROWS]

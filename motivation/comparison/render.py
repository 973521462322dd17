"""Output of a comparison: Markdown, JSON and a table for the terminal."""

import json
import math
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from motivation.comparison.picture import draw_comparison
from motivation.comparison.statistics import FEWEST
from motivation.comparison.tables import render_csv
from motivation.errors import counted
from motivation.report.markdown import markdown_table
from motivation.report.metric_units import form_of, named, unit_of
from motivation.report.table import DEFINITION
from motivation.structures import lower_is_better
from motivation.utils.files import read_object, write_whole


def write_comparison(comparison: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``compare.md``, ``compare.json``, ``compare.png`` and ``compare.csv``, each whole or not at all.

    An earlier comparison with arms or seeds that this one lacks is kept, renamed to ``compare-1.md`` and so on, with its
    ``compare.html``.

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
    return json.dumps(_finite(comparison), indent=1, allow_nan=False) + '\n'


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _finite(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _covers(comparison: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Return whether a comparison contains every run of an earlier one, which may be of a version without a schema."""

    def runs(one: dict[str, Any]) -> set[tuple[str, int]]:
        return {(arm['arm'], run['seed']) for arm in one['arms'] for run in arm['runs']}

    return 'arms' in earlier and runs(comparison) >= runs(earlier)


def render_markdown(comparison: dict[str, Any]) -> str:
    """Return a comparison as Markdown."""
    sections = [
        f'# Comparison of {len(comparison["arms"])} arms\n\n{_about(comparison)}',
        f'## Results\n\n{_results_table(comparison)}\n\n{" ".join(filter(None, (_spread_note(comparison), _RESULTS_NOTE, _uncounted(comparison))))}',
        *([_unfinished(comparison)] if any(arm['unfinished'] for arm in comparison['arms']) else []),
        f'## Differences, paired by seed\n\n{_differences_table(comparison)}',
        f'## Claims\n\n{_claims_table(comparison)}\n\n{_claims_note(comparison)}',
        f'## At equal FLOPs\n\n{_equal_flops_table(comparison)}\n\n{_EQUAL_FLOPS_NOTE}\n\n![{comparison["metric"]} against training FLOPs](compare.png)',
    ]
    return '\n\n'.join(sections) + '\n'


def _about(comparison: dict[str, Any]) -> str:
    seeds = ', '.join(map(str, comparison['seeds']))
    noun = 'seed' if len(comparison['seeds']) == 1 else 'seeds'
    return (
        f'`{comparison["config"]}`, {counted(comparison["epochs"], "epoch")}, {noun} {seeds}; {named(comparison["metric"])}, '
        f'after the last epoch. {DEFINITION}'
    )


def _spread(summary: dict[str, Any] | None, form: str = '.2f', scale: float = 1.0) -> str:
    if summary is None:
        return ''
    mean = f'{summary["mean"] * scale:{form}}'
    return mean if summary['sd'] is None else f'{mean} ± {summary["sd"] * scale:{form}}'


def _mean(summary: dict[str, Any] | None, form: str, unit: str = '') -> str:
    return '' if summary is None else f'{summary["mean"]:{form}}{unit}'


def build_table(comparison: dict[str, Any]) -> Table:
    """Return the results as a table for the terminal, with fewer columns than the Markdown."""
    table = Table(
        title=f'{named(comparison["metric"])}, and training compute',
        title_justify='left',
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    form = form_of(comparison['metric'])
    table.add_column('arm', overflow='fold')
    for name in ('base', 'motivated', 'FLOPs', 'saving', 'motivated\nbatches'):
        table.add_column(name, justify='right', no_wrap=True)
    for arm in _arms_and_standalone(comparison):
        own = arm['summary']
        table.add_row(
            arm['arm'],
            _spread(own['base'], form),
            _spread(own['motivated'], form),
            _mean(own['total_train_flops'], '.3g'),
            _mean(own['saving'], '.2f', ' x'),
            _mean(own['motivated_fraction'], '.1%'),
        )
    table.caption = _uncounted(comparison) or None
    return table


def _arms_and_standalone(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    standalone = comparison['standalone']
    return [*comparison['arms'], *([standalone] if standalone else [])]


def _results_table(comparison: dict[str, Any]) -> str:
    """Return the results as Markdown: a row for each arm, and one for both standalone trainings together."""
    rows, form = [], form_of(comparison['metric'])
    for arm in _arms_and_standalone(comparison):
        own = arm['summary']
        rows.append(
            [
                f'`{arm["arm"]}`',
                str(len(arm['runs'])),
                _spread(own['base'], form),
                _spread(own['motivated'], form),
                _mean(own['base_train_flops'], '.3g'),
                _mean(own['motivated_train_flops'], '.3g'),
                _mean(own['total_train_flops'], '.4g'),
                _mean(own['saving'], '.2f', ' x'),
                _mean(own['motivated_fraction'], '.1%'),
                _mean(own['wall_seconds'], ',.0f'),
            ]
        )
    header = [
        'arm', 'seeds', 'base', 'motivated', 'base FLOPs', 'motivated FLOPs', 'total FLOPs',
        'saving against always', 'motivated batches', 'wall time (s)',
    ]  # fmt: skip
    return markdown_table(header, rows)


_RESULTS_NOTE = (
    'The cell of a model that an arm does not train is empty. `distillation` is '
    'the base model taught by the motivated model of its teacher arm, whose training is included in the FLOPs; its '
    'motivated model is that teacher. The saving is against the first `always` arm. Runs may have shared the machine, '
    'which affects wall times.'
)


def _spread_note(comparison: dict[str, Any]) -> str:
    return 'Mean ± standard deviation over seeds.' if len(comparison['seeds']) > 1 else 'Results of one seed.'


def _uncounted(comparison: dict[str, Any]) -> str:
    """Which arms have no FLOPs, in a sentence."""
    arms = [
        f'`{arm["arm"]}`' for arm in comparison['arms'] if any(run['total_train_flops'] is None for run in arm['runs'])
    ]
    if not arms:
        return ''
    return (
        f'The FLOPs of {", ".join(arms)} were not counted in every run; what follows from those of the others leaves '
        'such runs out.'
    )


def _unfinished(comparison: dict[str, Any]) -> str:
    lines = [
        f'- `{arm["arm"]}`, seed {run["seed"]}: {": ".join(filter(None, (run["status"], run["reason"])))}'
        for arm in comparison['arms']
        for run in arm['unfinished']
    ]
    return '## Runs that have not finished\n\n' + '\n'.join(lines)


def _differences_table(comparison: dict[str, Any]) -> str:
    if not comparison['differences']:
        return 'None: no other arm has a seed in common with an arm `never` or `always`.'
    rows, form = [], form_of(comparison['metric'])
    for row in comparison['differences']:
        interval = '' if row['low'] is None else f'{row["low"]:+{form}} to {row["high"]:+{form}}'
        rows.append(
            [f'`{row["arm"]}`', f'`{row["against"]}`', row['model'], f'{row["mean"]:+{form}}', interval, str(row['n'])]
        )
    unit = unit_of(comparison['metric'])
    difference = f'difference ({unit})' if unit else 'difference'
    return markdown_table(['arm', 'against', 'model', difference, '95 % interval', 'seeds'], rows, left=3)


def _claims_table(comparison: dict[str, Any]) -> str:
    if not comparison['claims']:
        return 'None could be judged.'
    rows = [[claim['claim'], f'**{claim["verdict"]}**', claim['evidence']] for claim in comparison['claims']]
    return markdown_table(['claim', 'verdict', 'evidence'], rows, left=3)


def _claims_note(comparison: dict[str, Any]) -> str:
    sides = ('above', 'below')
    better, worse = reversed(sides) if lower_is_better(comparison['metric']) else sides
    return (
        f'Supported: the whole interval of the paired difference is {better} zero (of FLOPs saved, above). Contradicted: it '
        f'is {worse} zero. Not decided: otherwise, or with fewer than {FEWEST} seeds. There is no correction for multiple '
        f'comparisons: if none of these {len(comparison["claims"])} claims reflected a real difference, about one in '
        'twenty would still be decided by chance.'
    )


def _equal_flops_table(comparison: dict[str, Any]) -> str:
    equal, form = comparison['equal_flops'], form_of(comparison['metric'])
    if not equal:
        return 'No run was validated whose FLOPs were counted.'
    labels = list(dict.fromkeys(label for one in equal.values() for label in one['arms']))
    header, rows = ['arm'], [[f'`{label}`'] for label in labels]
    for model, one in equal.items():
        against = next((row['against'] for row in one['differences']), None)
        header += [f'{model}, at {one["train_flops"]:.4g} FLOPs', f'against `{against}`' if against else '']
        gained = {row['arm']: row for row in one['differences']}
        for label, row in zip(labels, rows, strict=True):
            row += [_spread(one['arms'].get(label), form), _interval(gained.get(label), form)]
    return markdown_table(header, rows)


def _interval(row: dict[str, Any] | None, form: str) -> str:
    if row is None:
        return ''
    return f'{row["mean"]:+{form}}' + (
        '' if row['low'] is None else f' ({row["low"]:+{form}} to {row["high"]:+{form}})'
    )


_EQUAL_FLOPS_NOTE = (
    'The metric of each arm at the point where it had spent the total FLOPs of the cheapest arm that trains the model, '
    'interpolated between two validations, and the difference from the arm that trains the model alone, with its 95 % '
    'interval. An arm is left out if one of its runs had not been validated by then. At that point the schedules of '
    'all but the cheapest arm are unfinished and their learning rates still high, which favours the cheapest arm. To '
    'compare finished trainings, give an arm another number of epochs (`never:max_epochs=...`).'
)

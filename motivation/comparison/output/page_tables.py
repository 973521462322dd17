"""The tables of a comparison as HTML."""

import html
import re
from collections.abc import Sequence
from typing import Any

from motivation.comparison.output.render import (
    NONE_VALIDATED,
    RESULTS_HEADER,
    arms_and_standalone,
    interval_name,
    mean_of,
    spread,
)
from motivation.errors import counted
from motivation.report.metric_units import form_of, unit_of

# Width of the picture of an interval, in pixels.
_WIDTH = 180


def inline(markdown: str) -> str:
    """Return a line of Markdown as HTML, in which everything but code is text."""
    return re.sub('`([^`]+)`', r'<code>\1</code>', html.escape(markdown))


def text(value: str, label: bool = False) -> str:
    """Return a cell with a text, or with the label of an arm."""
    escaped = html.escape(value)
    return f'<th scope="row"><code>{escaped}</code></th>' if label else f'<td>{escaped}</td>'


def number(value: float | None, form: str, shown: str | None = None) -> str:
    """Return a cell with a number, by whose value the column is sorted; an empty one for ``None``.

    Args:
        value: The number.
        form: Its format.
        shown: What the cell shows instead (default: the number in its format).
    """
    if value is None:
        return '<td class="number"></td>'
    return (
        f'<td class="number" data-value="{value!r}">{html.escape(format(value, form) if shown is None else shown)}</td>'
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], name: str, unsorted: Sequence[str] = ()) -> str:
    """Return a table that can be sorted by each column and that scrolls where it is wider than the page.

    Args:
        header: Names of the columns.
        rows: Cells of each row, at least one row.
        name: Accessible name of the table, which is also its id.
        unsorted: Names of further columns, by which it cannot be sorted.
    """
    kinds = [' class="number"' if 'class="number"' in cell else '' for cell in rows[0]]
    heads = [
        f'<th scope="col"{kind}><button type="button">{html.escape(head)}</button></th>'
        for head, kind in zip(header, kinds, strict=False)
    ]
    heads += [f'<th scope="col">{html.escape(head)}</th>' for head in unsorted]
    body = '\n'.join(f'<tr>{"".join(row)}</tr>' for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table id="{name}">'
        f'<thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _summary(summary: dict[str, Any] | None, form: str, shown: str) -> str:
    return number(None if summary is None else summary['mean'], form, shown)


def results_table(comparison: dict[str, Any]) -> str:
    """Return the means of each arm, and of both standalone trainings together."""
    form = form_of(comparison['metric'])
    columns = [
        ('base_train_flops', '.3g', ''), ('motivated_train_flops', '.3g', ''), ('total_train_flops', '.4g', ''),
        ('saving', '.2f', ' x'), ('motivated_fraction', '.1%', ''), ('wall_seconds', ',.0f', ''),
    ]  # fmt: skip
    rows = []
    for arm in arms_and_standalone(comparison):
        own = arm['summary']
        metrics = []
        for model in ('base', 'motivated'):
            front = ' ◆' if model in arm.get('pareto', ()) else ''
            metrics.append(_summary(own[model], form, spread(own[model], form) + front))
        others = [_summary(own[name], form, mean_of(own[name], form, unit)) for name, form, unit in columns]
        rows.append([text(arm['arm'], label=True), number(len(arm['runs']), 'd'), *metrics, *others])
    note = '<p class="note">◆ on the Pareto front of mean metric against mean total training FLOPs.</p>'
    has_front = any(arm.get('pareto') for arm in comparison['arms'])
    return table(RESULTS_HEADER, rows, 'results') + (note if has_front else '')


def unfinished_list(comparison: dict[str, Any]) -> str:
    """Return the runs that have not finished, under a heading; nothing if there are none."""
    items = [
        f'<li><code>{html.escape(arm["arm"])}</code>, seed {run["seed"]}: '
        f'{html.escape(": ".join(filter(None, (run["status"], run["reason"]))))}</li>'
        for arm in comparison['arms']
        for run in arm['unfinished']
    ]
    if not items:
        return ''
    summary = f'<summary>{counted(len(items), "run")} {"has" if len(items) == 1 else "have"} not finished</summary>'
    return f'<details class="unfinished">{summary}<ul>{"".join(items)}</ul></details>'


def differences_table(comparison: dict[str, Any], name: str = 'differences') -> str:
    """Return the differences after the last epoch, each with a picture of its interval."""
    return _differences(comparison['differences'], comparison['metric'], interval_name(comparison), name)


def _differences(differences: Sequence[dict[str, Any]], metric: str, interval: str, name: str) -> str:
    if not differences:
        return '<p>None: no other arm has a seed in common with an arm <code>never</code> or <code>always</code>.</p>'
    form, unit = form_of(metric), unit_of(metric)
    ends = [end for row in differences for end in (row['low'], row['high'], row['mean'], 0.0) if end is not None]
    scale = min(ends), max(ends)
    rows = [
        [
            text(row['arm'], label=True),
            f'<td><code>{html.escape(row["against"])}</code></td>',
            text(row['model']),
            number(row['mean'], f'+{form}'),
            number(row['low'], f'+{form}'),
            number(row['high'], f'+{form}'),
            number(row['n'], 'd'),
            f'<td>{_interval_picture(row, scale)}</td>',
        ]
        for row in differences
    ]
    header = ['arm', 'against', 'model', f'difference ({unit})' if unit else 'difference', 'from', 'to', 'seeds']
    return table(header, rows, name, unsorted=[f'{interval}; the line is zero'])


def _interval_picture(row: dict[str, Any], scale: tuple[float, float]) -> str:
    """Return an SVG of an interval; the scale is shared by the table."""
    least, most = scale

    def place(value: float) -> str:
        return f'{6 + (_WIDTH - 12) * (value - least) / ((most - least) or 1):.1f}'

    line = '' if row['low'] is None else f'<path class="range" d="M{place(row["low"])} 9H{place(row["high"])}"/>'
    return (
        f'<svg class="interval" width="{_WIDTH}" height="18" aria-hidden="true"><path class="zero" d="M{place(0.0)} 0V18"/>'
        f'{line}<circle cx="{place(row["mean"])}" cy="9" r="4"/></svg>'
    )


def claims_table(comparison: dict[str, Any]) -> str:
    """Return the claims with their verdicts and p-values."""
    claims = comparison['claims']
    if not claims:
        return '<p>None could be judged.</p>'
    rows = [
        [
            text(claim['claim']),
            f'<td><span class="verdict {claim["verdict"].replace(" ", "-")}">{claim["verdict"]}</span></td>',
            number(claim['p'], '.3g'),
            number(claim['adjusted_p'], '.3g'),
            text(claim['evidence']),
        ]
        for claim in claims
    ]
    return table(['claim', 'verdict', 'p', 'adjusted p', 'evidence'], rows, 'claims')


def equal_flops_tables(comparison: dict[str, Any]) -> str:
    """Return a table for each model at equal training FLOPs, and the differences there."""
    if not comparison['equal_flops']:
        return '<p>No run was validated whose FLOPs were counted.</p>'
    form, parts = form_of(comparison['metric']), []
    for model, one in comparison['equal_flops'].items():
        rows = [
            [text(label, label=True), _summary(summary, form, spread(summary, form)), number(summary['n'], 'd')]
            for label, summary in one['arms'].items()
        ]
        parts.append(f'<h3>{model} model, after {one["train_flops"]:.4g} FLOPs</h3>')
        parts.append(
            table(['arm', model, 'seeds'], rows, f'{model}-at-equal-flops') if rows else f'<p>{NONE_VALIDATED}</p>'
        )
        if one['differences']:
            parts.append(
                _differences(
                    one['differences'],
                    comparison['metric'],
                    interval_name(comparison),
                    f'{model}-differences-at-equal-flops',
                )
            )
    return '\n'.join(parts)

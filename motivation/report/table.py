"""The results of a run as data and as a table."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import nn

from motivation.policies.switch_trace import SwitchTrace
from motivation.structures import ModelName
from motivation.utils.files import write_whole

DEFINITION = (
    'MACs: multiply-accumulates of convolutions, linear layers, matrix products and attention; '
    'FLOPs = 2 x MACs; forward and backward of training; validation apart.'
)


def model_label(model: nn.Module) -> str:
    """What a person calls the model: the backbone's name, or else its class."""
    return getattr(model, 'model_name', type(model).__name__)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def report_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the table says: a label, and the value for base and motivated model."""
    both = report['base'], report['motivated']

    def row(label: str, *values: str) -> tuple[str, str, str]:
        base, motivated = values
        return label, base, motivated

    metrics = list(dict.fromkeys(name for one in both for name in one['metrics']))
    return [
        row('model', *(one['model'] for one in both)),
        row('parameters', *(f'{one["params"]:,}' for one in both)),
        *(row(name, *(_metric(one, name) for one in both)) for name in metrics),
        *(
            row(f'best {name}', *(_best(one, name) for one in both))
            for name in metrics[:1]
            if name.startswith('accuracy/')
        ),
        row('forward MMACs an image', *(f'{one["forward_macs_per_image"] / 1e6:,.3f}' for one in both)),
        *further_rows(report),
        row('backward MMACs an image', *(f'{one["backward_macs_per_image"] / 1e6:,.3f}' for one in both)),
        row('batches trained on', *(f'{one["iters"]:,}' for one in both)),
        row('images trained on', *(f'{one["images"]:,}' for one in both)),
        row('training FLOPs', *(f'{one["train_flops"]:.4g}' for one in both)),
        row('of which forward', *(f'{one["forward_flops"]:.4g}' for one in both)),
        row('of which backward', *(f'{one["backward_flops"]:.4g}' for one in both)),
        row('validation FLOPs', *(f'{one["evaluation_flops"]:.4g}' for one in both)),
        *(
            [row('FLOPs of re-estimated statistics', *(f'{one["reestimation_flops"]:.4g}' for one in both))]
            if any(one['reestimation_flops'] for one in both)
            else []
        ),
        row('seconds of its batches', *(f'{one["seconds"]:,.1f}' for one in both)),
        row('images a second', *(format_rate(one['images_per_second']) for one in both)),
        row('GFLOPs a second', *(format_rate(one['flops_per_second'], 1e9) for one in both)),
    ]


def best_accuracies(history: list[dict[str, Any]], model: ModelName) -> dict[str, dict[str, float]]:
    """The highest value of each accuracy of one model over a run, and the epoch that it was first reached after."""
    best: dict[str, dict[str, float]] = {}
    for row in history:
        for name, value in row[model]['metrics'].items():
            if name.startswith('accuracy/') and (name not in best or value > best[name]['value']):
                best[name] = {'value': value, 'epoch': row['epoch']}
    return best


def _best(one: dict[str, Any], metric: str) -> str:
    best = one['best'].get(metric)
    return f'{best["value"]:.2f} (epoch {best["epoch"]})' if best else 'not evaluated'


def further_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a training step computes forward, where that is not the network alone: a teacher's pass, say."""
    both = report['base'], report['motivated']
    if all(one['step_forward_macs_per_image'] == one['forward_macs_per_image'] for one in both):
        return []
    base, motivated = (f'{one["step_forward_macs_per_image"] / 1e6:,.3f}' for one in both)
    return [('forward MMACs an image of a step', base, motivated)]


def format_rate(rate: float | None, unit: float = 1.0) -> str:
    """A rate in multiples of a unit, or a dash for none."""
    return '-' if rate is None else f'{rate / unit:,.1f}'


def _metric(one: dict[str, Any], name: str) -> str:
    return f'{one["metrics"][name]:.2f}' if name in one['metrics'] else 'not evaluated'


def report_facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What holds for the run as a whole: label and value."""
    return [
        ('policy', report['policy']),
        *([('pretrained weights', report['pretraining']['said'])] if 'pretraining' in report else []),
        ('seed', str(report['seed'])),
        ('epochs', str(report['epochs'])),
        ('motivated batches', f'{report["motivated_fraction"]:.1%} in {report["activations"]:,} spells'),
        *(
            [('distillation', f'{report["distillation_iters"]:,} further steps of the base')]
            if report['distillation_iters']
            else []
        ),
        *(
            [('skipped batches', f'{report["skipped_iters"]:,}, whose loss was no number')]
            if report['skipped_iters']
            else []
        ),
        *([('rollbacks', f'{report["rollbacks"]}, after a loss that was no number')] if report['rollbacks'] else []),
        ('training FLOPs of both', f'{report["total_train_flops"]:.4g}'),
        ('motivated model alone', f'{report["motivated_alone_train_flops"]:.4g} on the same batches'),
        ('saving', f'{report["saving"]:.2f} x'),
        *(
            (f'images left out ({stage})', f'{counts["images"]:,}, {counts["times"]:,} times')
            for stage, counts in report.get('skipped', {}).items()
        ),
        ('wall time', f'{report["wall_seconds"]:,.0f} s'),
        *(
            [('energy', f'{report["energy_wh"]:.3g} Wh, {report["co2_grams"]:.3g} g CO2e ({report["energy_source"]})')]
            if 'energy_wh' in report
            else []
        ),
    ]


def build_table(report: dict[str, Any]) -> Table:
    """The report for a terminal."""
    table = Table(
        '', 'base', 'motivated', title='Two models from one run', title_justify='left', caption_justify='left'
    )
    for column in table.columns[1:]:
        column.justify = 'right'
    for row in report_rows(report):
        table.add_row(*row)
    table.caption = '\n'.join(f'{label}: {value}' for label, value in report_facts(report))
    return table


def render_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    rows = ''.join(f'| {" | ".join(row)} |\n' for row in report_rows(report))
    facts = ''.join(f'- {label}: {value}\n' for label, value in report_facts(report))
    return f'| | base | motivated |\n| :-- | --: | --: |\n{rows}\n{facts}\n{DEFINITION}\n'


def write_report(report: dict[str, Any], trace: SwitchTrace, work_dir: Path, picture: bool = True) -> list[Path]:
    """Write ``report.json``, ``report.md`` and ``report.png``.

    Args:
        report: The results.
        trace: The switches.
        work_dir: Where to.
        picture: Whether to draw ``report.png``.

    Returns:
        The files written.
    """
    data, table, drawing = (work_dir / f'report.{suffix}' for suffix in ('json', 'md', 'png'))
    write_whole(table, lambda file: file.write(render_markdown(report).encode()))
    if picture:
        # Inside: matplotlib takes half a second to import, which a run spends when it has come to its end.
        from motivation.report.picture import draw_report

        write_whole(drawing, lambda file: draw_report(report, trace, file))
    # Last and in one go: where it is, the run has come to its end.
    write_whole(data, lambda file: file.write((json.dumps(report, indent=1) + '\n').encode()))
    return [data, table, drawing] if picture else [data, table]

"""The results of a run as a table, in a terminal and in ``report.md``."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table
from torch import nn

from motivation.policies.switch_trace import SwitchTrace
from motivation.report.class_results import render_classes
from motivation.report.metric_units import form_of
from motivation.report.structure import Best, ModelCompute, ModelReport, RunReport, Validation
from motivation.structures import ModelName, is_per_class, kind_of
from motivation.utils.batches import article
from motivation.utils.files import write_whole

DEFINITION = (
    'MACs: multiply-accumulates of convolutions, linear layers, matrix products and attention; '
    'FLOPs = 2 x MACs; forward and backward of training; validation apart.'
)


def model_label(model: nn.Module) -> str:
    """Return the name of a model's backbone, or of its class."""
    return getattr(model, 'model_name', type(model).__name__)


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def model_rows(report: RunReport) -> list[tuple[str, str, str]]:
    """Return the rows of the table: a label, and the values of the base and the motivated model."""
    both = report.base, report.motivated
    counted = [model.compute for model in both if model.compute is not None]
    metrics = list(dict.fromkeys(name for model in both for name in model.metrics if not is_per_class(name)))
    return [
        _row('model', (model.model for model in both)),
        _row('parameters', (f'{model.params:,}' for model in both)),
        *(_row(name, (_metric(model, name) for model in both)) for name in metrics),
        *(
            _row(f'best {name}', (_best(model, name) for model in both))
            for name in metrics
            if name in (metrics[0], f'ema/{metrics[0]}') and any(name in model.best for model in both)
        ),
        *_mac_rows(counted, report.sample),
        _row('batches trained on', (f'{model.iters:,}' for model in both)),
        *_cost_rows(counted, report.sample),
    ]


def _row(label: str, values: Iterable[str]) -> tuple[str, str, str]:
    base, motivated = values
    return label, base, motivated


def _mac_rows(both: Sequence[ModelCompute], noun: str) -> list[tuple[str, str, str]]:
    """Return the rows about MACs per sample, none if they are not counted."""
    if not both:
        return []
    return [
        _row(f'forward MMACs {article(noun)}', (f'{cost.forward_macs_per_image / 1e6:,.3f}' for cost in both)),
        *step_rows(*((cost.forward_macs_per_image, cost.step_forward_macs_per_image) for cost in both), noun=noun),
        _row(f'backward MMACs {article(noun)}', (f'{cost.backward_macs_per_image / 1e6:,.3f}' for cost in both)),
    ]


def _cost_rows(both: Sequence[ModelCompute], noun: str) -> list[tuple[str, str, str]]:
    """Return the rows about FLOPs and speed, none if they are not counted."""
    if not both:
        return []
    return [
        _row(f'{noun}s trained on', (f'{cost.images:,}' for cost in both)),
        _row('training FLOPs', (f'{cost.train_flops:.4g}' for cost in both)),
        _row('of which forward', (f'{cost.forward_flops:.4g}' for cost in both)),
        _row('of which backward', (f'{cost.backward_flops:.4g}' for cost in both)),
        _row('validation FLOPs', (f'{cost.evaluation_flops:.4g}' for cost in both)),
        *(
            [_row('FLOPs of re-estimated statistics', (f'{cost.reestimation_flops:.4g}' for cost in both))]
            if any(cost.reestimation_flops for cost in both)
            else []
        ),
        _row('seconds of its batches', (f'{cost.seconds:,.1f}' for cost in both)),
        _row(f'{noun}s a second', (format_rate(cost.images_per_second) for cost in both)),
        _row('GFLOPs a second', (format_rate(cost.flops_per_second, 1e9) for cost in both)),
    ]


def best_values(history: Sequence[Validation], model: ModelName) -> dict[str, Best]:
    """Return the best value of each metric of one model, except those of single classes and losses, by metric."""
    best: dict[str, Best] = {}
    for row in history:
        for name, value in row.models[model].metrics.items():
            kind = kind_of(name)
            if kind is None or kind.unit == 'nats' or is_per_class(name):
                continue
            sign = -1 if kind.lower_is_better else 1
            if name not in best or sign * value > sign * best[name].value:
                best[name] = Best(value, row.epoch)
    return best


def _best(model: ModelReport, metric: str) -> str:
    best = model.best.get(metric)
    return f'{best.value:{form_of(metric)}} (epoch {best.epoch})' if best else 'not evaluated'


def step_rows(base: tuple[int, int], motivated: tuple[int, int], *, noun: str) -> list[tuple[str, str, str]]:
    """Return the row about the forward MACs of a training step, if these are not the network's only.

    Args:
        base: Forward MACs per sample of the base model: of the network, and of the step (with a teacher's pass).
        motivated: The same for the motivated model.
        noun: Name of a sample.
    """
    if base[0] == base[1] and motivated[0] == motivated[1]:
        return []
    return [(f'forward MMACs {article(noun)} of a step', f'{base[1] / 1e6:,.3f}', f'{motivated[1] / 1e6:,.3f}')]


def format_rate(rate: float | None, unit: float = 1.0) -> str:
    """Return a rate in multiples of a unit as text, or a dash for ``None``."""
    return '-' if rate is None else f'{rate / unit:,.1f}'


def _metric(model: ModelReport, name: str) -> str:
    return f'{model.metrics[name]:{form_of(name)}}' if name in model.metrics else 'not evaluated'


def run_facts(report: RunReport) -> list[tuple[str, str]]:
    """Return the facts about the run as a whole, as pairs of label and value."""
    compute, extra = report.compute, report.extra
    return [
        ('policy', report.policy),
        *([('pretrained weights', report.pretraining['said'])] if report.pretraining else []),
        ('seed', str(report.seed)),
        ('epochs', str(report.epochs)),
        ('motivated batches', f'{report.motivated_fraction:.1%} in {report.activations:,} spells'),
        *(
            [
                (
                    'distillation',
                    f'{compute.distillation_iters:,} further steps of the base on motivated batches; their FLOPs are '
                    'among those of the base, their seconds and rates among those of the motivated batches',
                )
            ]
            if compute and compute.distillation_iters
            else []
        ),
        *(
            [('skipped batches', f'{report.skipped_iters:,}, whose loss or gradient is not finite')]
            if report.skipped_iters
            else []
        ),
        *([('rollbacks', f'{report.rollbacks}, after a non-finite loss')] if report.rollbacks else []),
        *(
            [
                ('training FLOPs of both', f'{compute.total_train_flops:.4g}'),
                ('motivated model alone', f'{compute.motivated_alone_train_flops:.4g} on the same batches'),
                ('saving', f'{compute.saving:.2f} x'),
            ]
            if compute
            else []
        ),
        *([('compute', f'not counted: {report.not_counted}')] if report.not_counted is not None else []),
        *(
            (f'{report.sample}s left out ({stage})', f'{counts["images"]:,}, {counts["times"]:,} times')
            for stage, counts in extra.get('skipped', {}).items()
        ),
        ('wall time', f'{report.wall_seconds:,.0f} s'),
        *(
            [('energy', f'{extra["energy_wh"]:.3g} Wh, {extra["co2_grams"]:.3g} g CO2e ({extra["energy_source"]})')]
            if 'energy_wh' in extra
            else []
        ),
    ]


def build_table(report: RunReport) -> Table:
    """Return the report as a table for a terminal."""
    table = Table(
        '', 'base', 'motivated', title='Two models from one run', title_justify='left', caption_justify='left'
    )
    for column in table.columns[1:]:
        column.justify = 'right'
    for row in model_rows(report):
        table.add_row(*row)
    table.caption = '\n'.join(f'{label}: {value}' for label, value in run_facts(report))
    return table


def render_markdown(report: RunReport) -> str:
    """Return the report as Markdown."""
    rows = ''.join(f'| {" | ".join(row)} |\n' for row in model_rows(report))
    facts = ''.join(f'- {label}: {value}\n' for label, value in run_facts(report))
    classes = render_classes(report.extra, report.sample)
    parts = [f'| | base | motivated |\n| :-- | --: | --: |\n{rows}', facts, *([classes] if classes else [])]
    return '\n'.join([*parts, f'{DEFINITION if report.compute else ""}\n'])


def write_report(report: RunReport, trace: SwitchTrace, work_dir: Path, picture: bool = True) -> list[Path]:
    """Write ``report.json``, ``report.md`` and ``report.png``.

    Args:
        report: The results of the run.
        trace: Its switch trace.
        work_dir: The folder to write to.
        picture: Whether to draw ``report.png``. Default: ``True``.

    Returns:
        The paths of the files written.
    """
    data, table, drawing = (work_dir / f'report.{suffix}' for suffix in ('json', 'md', 'png'))
    write_whole(table, lambda file: file.write(render_markdown(report).encode()))
    if picture:
        # Imported here because matplotlib takes half a second, which a run needs only at its end.
        from motivation.report.picture import draw_report

        write_whole(drawing, lambda file: draw_report(report, trace, file))
    # Written last and atomically, because its presence marks a finished run.
    write_whole(data, lambda file: file.write((json.dumps(report.to_json(), indent=1) + '\n').encode()))
    return [data, table, drawing] if picture else [data, table]

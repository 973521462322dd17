"""The results of a run as a picture."""

from typing import Any, BinaryIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.policies.switch_trace import SwitchTrace
from motivation.report.switch_plot import COLOURS, draw_loss


def draw_report(report: dict[str, Any], trace: SwitchTrace, file: BinaryIO) -> None:
    """Draw loss with the motivated spells, accuracy over epochs, and training FLOPs of each model."""
    figure = Figure(figsize=(10, 10), layout='constrained')
    loss_axes, accuracy_axes, flops_axes = figure.subplots(3, 1)
    figure.suptitle(
        f'{report["base"]["model"]} in {report["motivated"]["model"]}, {report["policy"]}, seed {report["seed"]}: '
        f'{report["motivated_fraction"]:.1%} motivated batches, saving {report["saving"]:.2f} x'
    )
    _draw_loss(loss_axes, trace)
    _draw_accuracy(accuracy_axes, report['history'])
    _draw_flops(flops_axes, report)
    figure.savefig(file, dpi=110)


def _draw_loss(axes: Axes, trace: SwitchTrace) -> None:
    spells = [(first - 0.5, end - first) for first, end in trace.spells()]
    axes.broken_barh(
        spells, (0, 1), transform=axes.get_xaxis_transform(),
        color=COLOURS['motivated'], alpha=0.6, linewidth=0, snap=False, label='motivated spell',
    )  # fmt: skip
    draw_loss(axes, trace)
    axes.set(xlabel='batch')
    axes.legend(loc='upper right')


def _draw_accuracy(axes: Axes, history: list[dict[str, Any]]) -> None:
    evaluated = [name for name in COLOURS if history and history[-1][name]['metrics']]
    metric = next(iter(history[-1][evaluated[0]]['metrics'])) if evaluated else None
    for name in evaluated:
        values = [row[name]['metrics'][metric] for row in history]
        axes.plot([row['epoch'] for row in history], values, marker='.', color=COLOURS[name], label=name)
    if evaluated:
        axes.legend(loc='lower right')
    axes.locator_params(axis='x', integer=True)
    axes.set(xlabel='epoch', ylabel=f'validation {metric} (%)')
    axes.grid(alpha=0.3)


def _draw_flops(axes: Axes, report: dict[str, Any]) -> None:
    bars = {
        'this run': [report[name]['train_flops'] for name in COLOURS],
        'motivated model alone': [0, report['motivated_alone_train_flops']],
    }
    for place, (base, motivated) in enumerate(bars.values()):
        axes.barh(place, base, color=COLOURS['base'], label='base' if place == 0 else None)
        axes.barh(place, motivated, left=base, color=COLOURS['motivated'], label='motivated' if place == 0 else None)
        axes.annotate(f' {base + motivated:.3g}', (base + motivated, place), va='center')
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set(xlabel='training FLOPs', xlim=(0, 1.15 * max(sum(bar) for bar in bars.values())))
    axes.invert_yaxis()
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)

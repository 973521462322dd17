"""The picture of a run, ``report.png``."""

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from motivation.policies.switch_trace import SwitchTrace
from motivation.report.metric_units import named
from motivation.report.structure import RunReport, Validation
from motivation.report.switch_plot import BINS, COLOURS, draw_loss, motivated_shares
from motivation.structures import MODEL_NAMES

_OPACITY = 0.6  # of the shade behind the losses of motivated batches


def draw_report(report: RunReport, trace: SwitchTrace, file: BinaryIO) -> None:
    """Draw the loss with the motivated spells, the accuracy of both models and, if counted, their training FLOPs.

    Args:
        report: The results of the run.
        trace: Its switch trace.
        file: The binary file to write a PNG image to.
    """
    panels = 2 if report.compute is None else 3
    figure = Figure(figsize=(10, 10 * panels / 3), layout='constrained')
    loss_axes, accuracy_axes, *flops_axes = figure.subplots(panels, 1)
    saving = '' if report.compute is None else f', saving {report.compute.saving:.2f} x'
    figure.suptitle(
        f'{report.base.model} in {report.motivated.model}, {report.policy}, seed {report.seed}: '
        f'{report.motivated_fraction:.1%} motivated batches{saving}'
    )
    _draw_loss(loss_axes, trace)
    _draw_accuracy(accuracy_axes, report.history)
    for axes in flops_axes:
        _draw_flops(axes, report)
    figure.savefig(file, dpi=110)


def _draw_loss(axes: Axes, trace: SwitchTrace) -> None:
    spells = trace.spells()
    if len(spells) <= BINS:
        bars, opacities = [(first - 0.5, end - first) for first, end in spells], np.full(len(spells), _OPACITY)
        label = 'motivated spell'
    else:  # spells are narrower than a pixel: the opacity of a bin is its share of motivated batches
        edges, shares = motivated_shares(trace)
        bars, opacities = list(zip(edges[:-1] - 0.5, np.diff(edges), strict=True)), _OPACITY * shares
        label = 'motivated batches'
    axes.broken_barh(
        bars, (0, 1), transform=axes.get_xaxis_transform(), linewidth=0, snap=len(spells) > BINS,
        facecolors=[to_rgba(COLOURS['motivated'], opacity) for opacity in opacities],
    )  # fmt: skip
    draw_loss(axes, trace)
    axes.set(xlabel='batch')
    shade = Patch(color=COLOURS['motivated'], alpha=_OPACITY, label=label)
    axes.legend(handles=[shade, *axes.get_legend_handles_labels()[0]], loc='upper right')


def _draw_accuracy(axes: Axes, history: Sequence[Validation]) -> None:
    evaluated = [name for name in MODEL_NAMES if history and history[-1].models[name].metrics]
    metric = next(iter(history[-1].models[evaluated[0]].metrics)) if evaluated else ''
    drawn: list[list[float]] = []
    for name in evaluated:
        for shown, style, label in ((metric, '-', name), (f'ema/{metric}', '--', f'{name}, averaged weights')):
            if shown in history[-1].models[name].metrics:
                # A resumed run may have no averages in its first rows.
                values = [row.models[name].metrics.get(shown, math.nan) for row in history]
                epochs = [row.epoch for row in history]
                form: Any = (0, (4, 4)) if values in drawn else style  # dashes let an equal curve below be seen
                drawn.append(values)
                axes.plot(epochs, values, marker='.', linestyle=form, color=COLOURS[name], label=label)
    if evaluated:
        axes.legend(loc='lower right')
    axes.locator_params(axis='x', integer=True)
    axes.set(xlabel='epoch', ylabel=f'validation {named(metric)}')
    axes.grid(alpha=0.3)


def _draw_flops(axes: Axes, report: RunReport) -> None:
    assert report.compute is not None and report.base.compute is not None and report.motivated.compute is not None
    bars = {
        'this run': [report.base.compute.train_flops, report.motivated.compute.train_flops],
        'motivated model alone': [0, report.compute.motivated_alone_train_flops],
    }
    for place, (base, motivated) in enumerate(bars.values()):
        axes.barh(place, base, color=COLOURS['base'], label='base' if place == 0 else None)
        axes.barh(place, motivated, left=base, color=COLOURS['motivated'], label='motivated' if place == 0 else None)
        axes.annotate(f' {base + motivated:.3g}', (base + motivated, place), va='center')
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set(xlabel='training FLOPs', xlim=(0, 1.15 * max(sum(bar) for bar in bars.values())))
    axes.invert_yaxis()
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)

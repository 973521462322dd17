"""The picture of a cascade, ``cascade.png``."""

from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.evaluation.cascade_result import Cascaded
from motivation.report.switch_plot import COLOURS
from motivation.structures import MODEL_NAMES

_CASCADE = 'tab:green'


def draw_cascade(result: Cascaded, title: str, file: BinaryIO) -> None:
    """Draw accuracy against mean MACs an image, and the accuracy of both models by confidence of the base model.

    Args:
        result: The cascade.
        title: Title of the picture.
        file: The binary file to write a PNG image to.
    """
    figure = Figure(figsize=(12, 6), layout='constrained')
    trade, groups = figure.subplots(1, 2, width_ratios=[3, 2])
    figure.suptitle(title)
    _draw_trade(trade, result)
    _draw_groups(groups, result)
    figure.savefig(file, dpi=110)


def _draw_trade(axes: Axes, result: Cascaded) -> None:
    macs = {name: result.macs[name] / 1e6 for name in MODEL_NAMES}
    accuracy = {name: result.alone[name].value for name in MODEL_NAMES}
    costs = [point.macs.value / 1e6 for point in result.curve]
    axes.fill_between(
        costs, [point.accuracy.low for point in result.curve], [point.accuracy.high for point in result.curve],
        color=_CASCADE, alpha=0.15, linewidth=0, label='95 % interval of its accuracy',
    )  # fmt: skip
    axes.plot(costs, [point.accuracy.value for point in result.curve], color=_CASCADE, linewidth=2, label='cascade')
    axes.plot(
        [macs[name] for name in MODEL_NAMES], [accuracy[name] for name in MODEL_NAMES],
        color='0.4', linestyle='--', label='random choice between the two',
    )  # fmt: skip
    axes.plot(
        [macs['base'], result.oracle_macs / 1e6], [accuracy['base'], result.oracle_accuracy],
        color='0.6', linestyle=':', marker='*', markevery=[1], markersize=11, label='oracle: the best choice there is',
    )  # fmt: skip
    for name in MODEL_NAMES:
        axes.plot(macs[name], accuracy[name], 's', markersize=7, color=COLOURS[name], label=f'{name} alone', zorder=4)
    axes.axhline(accuracy['motivated'], color=COLOURS['motivated'], linewidth=0.8, alpha=0.6)
    # Hollow and of different sizes, because where nothing is passed on they lie on each other and on the base model.
    for point, marker, size, label in (
        (result.equal_accuracy, 'o', 13, f'equal accuracy: {result.relative_cost:.0%} of the MACs of motivated'),
        (result.best_accuracy, 'D', 19, 'best accuracy'),
    ):
        axes.plot(
            point.macs.value / 1e6, point.accuracy.value, marker, markersize=size, markerfacecolor='none',
            markeredgecolor=_CASCADE, markeredgewidth=2, label=label, zorder=5,
        )  # fmt: skip
    axes.set(xlabel='mean MMACs an image', ylabel='accuracy (%)', title='what the two cost and give together')
    axes.grid(alpha=0.3)
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=9, frameon=False, markerscale=0.6)


def _draw_groups(axes: Axes, result: Cascaded) -> None:
    places = np.arange(len(result.groups))
    for offset, name in zip((-0.2, 0.2), MODEL_NAMES, strict=True):
        values = [getattr(group, name) for group in result.groups]
        axes.bar(places + offset, values, width=0.4, color=COLOURS[name], label=name)
    passed = len(result.groups) * result.equal_accuracy.passed_on.value
    if passed > 0:
        axes.axvspan(-0.5, passed - 0.5, color=_CASCADE, alpha=0.15, zorder=0, label='passed on at equal accuracy')
    axes.set_xticks(places, [f'{group.lowest:.2f}' for group in result.groups], fontsize=8)
    axes.set(
        xlabel=f'tenths of the images by confidence of base\n({result.measure}; the lowest in each)',
        ylabel='accuracy (%)',
        xlim=(-0.5, len(places) - 0.5),
        ylim=(0, 104),
        title='where the motivated model is worth asking',
    )
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.17), fontsize=9, frameon=False)

"""Pictures of Pareto fronts: what the arms of a comparison ended with against what they cost."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes

from motivation.errors import counted
from motivation.report.metric_units import named

# Labels of one panel, and the least distance of two in shares of its height.
_MOST_LABELS, _APART = 14, 0.05

# Costs that differ by more than this factor have a logarithmic axis.
_WIDE = 12

_LONGEST = 44

_GREY = '0.6'

Item = TypeVar('Item')


def has_front(arms: Sequence[dict[str, Any]]) -> bool:
    """Return whether any arm is on the front of a model; none is where no FLOPs were counted."""
    return any(arm['pareto'] for arm in arms)


def draw_front(axes: Axes, arms: Sequence[dict[str, Any]], model: str, metric: str, colours: Mapping[str, Any]) -> None:
    """Draw the final metric of each arm against its total training FLOPs, and the Pareto front.

    There is one point for each arm, its mean over seeds, with one standard deviation on either side. Points of the front
    are larger, joined by steps and labelled, at most 14 of them.

    Args:
        axes: Where to draw.
        arms: Arms with their ``'summary'`` and ``'pareto'``.
        model: Name of the model.
        metric: The metric.
        colours: Colour of each arm that has one of its own; the others are grey.
    """
    known = [arm for arm in arms if arm['summary'][model] and arm['summary']['total_train_flops']]
    front = sorted((arm for arm in known if model in arm['pareto']), key=lambda arm: _point(arm, model))
    costs = [_point(arm, model)[0] for arm in known]
    if costs and max(costs) > _WIDE * min(costs) > 0:
        axes.set_xscale('log')
    axes.margins(x=0.08, y=0.12)
    groups: dict[
        tuple[bool, Any], list[dict[str, Any]]
    ] = {}  # drawn at once: a call takes longer than a hundred points
    for arm in known:
        groups.setdefault((model in arm['pareto'], colours.get(arm['arm'], _GREY)), []).append(arm)
    for (is_best, colour), group in groups.items():
        spreads = [arm['summary'][model]['sd'] for arm in group]
        points = [_point(arm, model) for arm in group]
        axes.errorbar(
            [cost for cost, _ in points],
            [value for _, value in points],
            yerr=[math.nan if sd is None else sd for sd in spreads] if any(spreads) else None,
            color=colour,
            linestyle='none',
            marker='o' if is_best else '.',
            markersize=9 if is_best else 8,
            markeredgecolor='black' if is_best else colour,
            elinewidth=1.2 if is_best else 0.7,
            alpha=1.0 if is_best else 0.55,
            zorder=3 if is_best else 2,
        )
    steps = [_point(arm, model) for arm in front]
    if steps:
        axes.step(*zip(*steps, strict=True), where='post', color='black', linewidth=1, zorder=1)
    labelled = evenly_spread(front, _MOST_LABELS)
    some = f' ({len(labelled)} of {len(front)} labelled)' if len(labelled) < len(front) else ''
    axes.set(
        title=f'{model} model: Pareto front of {counted(len(known), "arm")}{some}',
        xlabel='total training FLOPs',
        ylabel=f'final {named(metric)} (mean ± standard deviation)',
    )
    axes.grid(alpha=0.3)
    _label(axes, labelled, model)


def _point(arm: dict[str, Any], model: str) -> tuple[float, float]:
    return arm['summary']['total_train_flops']['mean'], arm['summary'][model]['mean']


def _label(axes: Axes, arms: Sequence[dict[str, Any]], model: str) -> None:
    """Write the label of each arm beside the panel, at the height of its point, and a line between both."""
    axes.autoscale_view()
    to_shares = axes.transData + axes.transAxes.inverted()
    shares = [float(to_shares.transform(_point(arm, model))[1]) for arm in arms]
    order = sorted(range(len(arms)), key=lambda place: shares[place])
    heights: list[float] = []
    for place in order:  # from the lowest on, each above the one before
        heights.append(max(shares[place], heights[-1] + _APART if heights else 0))
    above = 1 + _APART
    for index in reversed(range(len(heights))):  # from the top on, each below the one before
        heights[index] = above = min(heights[index], above - _APART)
    for place, height in zip(order, heights, strict=True):
        axes.annotate(
            shortened_label(arms[place]['arm']),
            _point(arms[place], model),
            xytext=(1.02, height),
            textcoords='axes fraction',
            fontsize=8,
            verticalalignment='center',
            arrowprops={'arrowstyle': '-', 'color': '0.75', 'linewidth': 0.6, 'shrinkB': 5},
        )


def shortened_label(label: str) -> str:
    """Return a label with the last part of each dotted field: ``'config: drops=1, weight=0.5'``, cut to 44 characters."""
    name, colon, rest = label.partition(':')
    if colon and '.' in rest:
        fields = rest.replace(',', '\n').split('\n')
        label = f'{name}: ' + ', '.join(
            one.partition('=')[0].rpartition('.')[2] + '=' + one.partition('=')[2] if '=' in one else one
            for one in fields
        )
    return label if len(label) <= _LONGEST else f'{label[: _LONGEST - 4]} ...'


def evenly_spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` of some items, evenly spread over them, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]

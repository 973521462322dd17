"""The picture of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, BinaryIO

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.comparison.output.front_picture import draw_front, evenly_spread, has_front, shortened_label
from motivation.comparison.results import BASELINES
from motivation.errors import counted
from motivation.report.metric_units import named
from motivation.structures import MODEL_NAMES

# Arms whose curves can be told apart.
_MOST_CURVES = 14


def draw_comparison(comparison: dict[str, Any], file: BinaryIO) -> None:
    """Draw the metric of each model against the training FLOPs spent, or against epochs if none were counted.

    There is one curve for each arm: it is the mean over seeds, the band extends from the lowest to the highest value, and the
    large dot marks the end of the schedule. Of more than 14 arms, those are drawn that train one model alone or are on a
    Pareto front. Below, where FLOPs were counted, is what each arm ended with and the front of each model.

    Args:
        comparison: Data of the comparison.
        file: Open file that the picture is written to, as PNG.
    """
    arms = comparison['arms']
    drawn = choose_curves(arms)
    rows_of_panels = 2 if has_front(arms) else 1
    figure = Figure(figsize=(13, 6.5) if rows_of_panels == 1 else (16, 12.5), layout='constrained')
    panels = figure.subplots(rows_of_panels, 2, squeeze=False)
    palette = colormaps['tab20' if len(drawn) > 10 else 'tab10']
    colours = {arm['arm']: palette(place) for place, arm in enumerate(drawn)}
    handles: dict[str, Any] = {}
    rows = [row for arm in drawn for run in arm['runs'] for row in run['history']]
    has_flops = any(row['total_train_flops'] is not None for row in rows)
    against = 'total_train_flops' if has_flops or not rows else 'epoch'
    for axes, model in zip(panels[0], MODEL_NAMES, strict=True):
        for arm in drawn:
            line = _draw_arm(axes, arm, model, against, colours[arm['arm']])
            if line is not None:
                handles.setdefault(arm['arm'], line)
        axes.set(
            title=f'{model} model',
            xlabel='epoch' if against == 'epoch' else 'training FLOPs spent on both models',
            ylabel=named(comparison['metric']),
        )
        axes.grid(alpha=0.3)
    for axes, model in zip(panels[1], MODEL_NAMES, strict=True) if rows_of_panels == 2 else ():
        draw_front(axes, arms, model, comparison['metric'], colours)
    seeds = len(comparison['seeds'])
    spread = '; curves: mean, lowest and highest' if seeds > 1 else ''
    figure.suptitle(
        f'{Path(comparison["config"]).stem}, {counted(comparison["epochs"], "epoch")}, {counted(seeds, "seed")}{spread}'
        + (f'; {len(drawn)} of {len(arms)} arms have curves' if len(drawn) < len(arms) else '')
    )
    if handles:
        figure.legend(
            handles.values(),
            [shortened_label(label) for label in handles],
            loc='outside lower center',
            ncols=2 if max(map(len, handles)) > 40 else min(len(handles), 4),
            frameon=False,
        )
    figure.savefig(file, format='png', dpi=110)


def choose_curves(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the arms whose curves are drawn: all, or of more than 14 the baselines and a part of the fronts."""
    if len(arms) <= _MOST_CURVES:
        return list(arms)
    baselines = [arm for arm in arms if arm['kind'] in BASELINES][: _MOST_CURVES // 2]
    front = [arm for arm in arms if arm['pareto'] and arm not in baselines]
    chosen = {arm['arm'] for arm in [*baselines, *evenly_spread(front, _MOST_CURVES - len(baselines))]}
    return [arm for arm in arms if arm['arm'] in chosen]


def _draw_arm(axes: Axes, arm: dict[str, Any], model: str, against: str, colour: Any) -> Any:
    histories = [
        [row for row in run['history'] if row[model] is not None and row[against] is not None] for run in arm['runs']
    ]
    lengths = {len(history) for history in histories}
    if not histories or 0 in lengths:
        return None
    rows = list(zip(*(history[: min(lengths)] for history in histories), strict=True))
    places = [fmean(row[against] for row in at) for at in rows]
    values = [[row[model] for row in at] for at in rows]
    means = [fmean(at) for at in values]
    axes.fill_between(
        places, [min(at) for at in values], [max(at) for at in values], color=colour, alpha=0.15, linewidth=0
    )
    (line,) = axes.plot(places, means, color=colour, marker='.')
    axes.plot(places[-1:], means[-1:], color=colour, marker='o', markersize=8)
    return line

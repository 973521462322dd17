"""The picture of a comparison."""

from pathlib import Path
from statistics import fmean
from typing import Any, BinaryIO

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.errors import counted
from motivation.report.metric_units import named
from motivation.structures import MODEL_NAMES


def draw_comparison(comparison: dict[str, Any], file: BinaryIO) -> None:
    """Draw the metric of each model against the training FLOPs spent, or against epochs if none were counted.

    There is one curve for each arm: it is the mean over seeds, the band extends from the lowest to the highest value, and the large dot marks the
    end of the schedule.

    Args:
        comparison: Data of the comparison.
        file: Open file that the picture is written to, as PNG.
    """
    figure = Figure(figsize=(13, 6.5), layout='constrained')
    panels = figure.subplots(1, 2)
    colours = colormaps['tab20' if len(comparison['arms']) > 10 else 'tab10']
    handles: dict[str, Any] = {}
    rows = [row for arm in comparison['arms'] for run in arm['runs'] for row in run['history']]
    has_flops = any(row['total_train_flops'] is not None for row in rows)
    against = 'total_train_flops' if has_flops or not rows else 'epoch'
    for axes, model in zip(panels, MODEL_NAMES, strict=True):
        for place, arm in enumerate(comparison['arms']):
            line = _draw_arm(axes, arm, model, against, colours(place))
            if line is not None:
                handles.setdefault(arm['arm'], line)
        axes.set(
            title=f'{model} model',
            xlabel='epoch' if against == 'epoch' else 'training FLOPs spent on both models',
            ylabel=named(comparison['metric']),
        )
        axes.grid(alpha=0.3)
    seeds = len(comparison['seeds'])
    spread = ': mean, lowest and highest' if seeds > 1 else ''
    figure.suptitle(
        f'{Path(comparison["config"]).stem}, {counted(comparison["epochs"], "epoch")}, {counted(seeds, "seed")}{spread}'
    )
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc='outside lower center', ncols=min(len(handles), 4), frameon=False
        )
    figure.savefig(file, format='png', dpi=110)


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

"""The picture of recorded runs of any length: loss, motivated spells, accuracy and streaks."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.report.structure import RecordedRun, Validation
from motivation.structures import MODEL_NAMES

COLOURS = {'base': 'tab:blue', 'motivated': 'tab:orange'}

BINS = 600  # along the batch axis, about one per pixel of a panel

_LONGEST_STREAK = 8


def draw_switches(runs: Sequence[RecordedRun], path: Path) -> None:
    """Draw recorded runs side by side and save the picture.

    The column of a run has, from top to bottom, the loss, the share of motivated batches, the accuracy of both models
    at each validation, and how often the loss dropped how many times in a row.

    Args:
        runs: The recorded runs.
        path: The picture to write.

    Raises:
        ConfigError: The picture cannot be written.
    """
    figure = Figure(figsize=(2 + 6 * len(runs), 12), layout='constrained')
    panels = figure.subplots(4, len(runs), squeeze=False, sharey='row')
    for column, run in enumerate(runs):
        loss, spells, accuracy, streaks = panels[:, column]
        loss.set_title(_title(run), fontsize=10)
        draw_loss(loss, run.trace)
        loss.legend(loc='upper right')
        _draw_spells(spells, run.trace)
        _draw_accuracy(accuracy, run.history)
        for axes in (spells, accuracy):
            axes.sharex(loss)
        accuracy.set(xlabel='batch')
        _draw_streaks(streaks, run.trace)
    try:
        figure.savefig(path, dpi=110)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"'{path}' cannot be written ({error}); name a .png, .pdf or .svg file in an existing folder"
        ) from error


def _title(run: RecordedRun) -> str:
    trace, spells = run.trace, run.trace.spells()
    length = f', {sum(end - first for first, end in spells) / len(spells):.1f} batches each' if spells else ''
    about = '' if run.about is None else f'\n{run.about}'
    return (
        f'{run.name}{about}\n{trace.motivated_fraction:.1%} of {len(trace):,} batches motivated, '
        f'in {len(spells):,} spells{length}'
    )


def _edges(count: int, bins: int) -> np.ndarray:
    """Return the first batch of each bin of ``count`` batches, and the end of the last bin."""
    return np.linspace(0, count, min(count, bins) + 1).round().astype(int)


def draw_loss(axes: Axes, trace: SwitchTrace) -> None:
    """Draw the loss of each batch or, for a long run, the median and range of the loss in each bin."""
    losses = np.array(trace.losses)
    axes.set(ylabel='training loss', xlim=(-0.5, max(len(losses), 1) - 0.5))
    if len(losses) <= 2 * BINS:
        axes.plot(losses, color='0.3', linewidth=0.7, label='loss of each batch')
        return
    edges = _edges(len(losses), BINS)
    parts = [losses[first:end][np.isfinite(losses[first:end])] for first, end in pairwise(edges)]
    centres = (edges[:-1] + edges[1:] - 1) / 2
    axes.fill_between(
        centres,
        [part.min() if len(part) else np.nan for part in parts],
        [part.max() if len(part) else np.nan for part in parts],
        color='0.75',
        linewidth=0,
        label='range',
    )
    width = round(len(losses) / len(parts))
    axes.plot(
        centres,
        [np.median(part) if len(part) else np.nan for part in parts],
        color='0.2',
        linewidth=0.8,
        label=f'median of {width} batches',
    )


def motivated_shares(trace: SwitchTrace, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of motivated batches in each of B bins.

    Args:
        trace: The switch trace.
        bins: Largest number of bins; there are fewer if there are fewer batches. Default: 600.

    Returns:
        The first batch of each bin and the end of the last, (B + 1,); the shares, 0 to 1, (B,).
    """
    edges = _edges(len(trace), bins)
    motivated = np.frombuffer(bytes(trace.motivated), np.uint8)
    return edges, np.array([motivated[first:end].mean() for first, end in pairwise(edges)])


def _draw_spells(axes: Axes, trace: SwitchTrace) -> None:
    # With few batches per bin the shares would be too coarse.
    edges, shares = motivated_shares(trace, BINS if len(trace) <= BINS else BINS // 4)
    axes.stairs(shares, edges - 0.5, fill=True, color=COLOURS['motivated'])
    axes.set(ylabel='share of motivated batches', ylim=(0, 1.02))


def _draw_accuracy(axes: Axes, history: Sequence[Validation]) -> None:
    metric = None
    for name in MODEL_NAMES:
        rows = [(row.iter - 1, row.models[name].metrics) for row in history if row.models[name].metrics]
        if rows:
            metric = next(iter(rows[0][1]))
            axes.plot(
                [batch for batch, _ in rows], [metrics[metric] for _, metrics in rows],
                marker='.', color=COLOURS[name], label=name,
            )  # fmt: skip
    if metric is None:
        axes.text(0.5, 0.5, 'not validated yet', ha='center', va='center', transform=axes.transAxes)
        return
    axes.set(ylabel=f'validation {metric} (%)')
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')


def streak_shares(losses: Sequence[float], longest: int = _LONGEST_STREAK) -> list[float]:
    """Return the share of batches after which the loss had dropped at least n times in a row, for n = 1, 2, ...

    Args:
        losses: Training loss of each batch.
        longest: The largest n. Default: 8.
    """
    drops = np.diff(np.asarray(losses, dtype=float)) < 0
    standing, shares = drops, []
    for _ in range(longest):
        shares.append(standing.sum() / max(len(losses), 1))
        standing = standing[1:] & drops[: len(standing) - 1] if len(standing) > 1 else standing[:0]
    return shares


def _draw_streaks(axes: Axes, trace: SwitchTrace) -> None:
    lengths = range(1, _LONGEST_STREAK + 1)
    axes.bar(lengths, streak_shares(trace.losses), color='0.6', label='this run')
    axes.plot(
        lengths, [1 / math.factorial(n + 1) for n in lengths],
        color='black', marker='o', linestyle='none', label='independent losses: 1 / (n + 1)!',
    )  # fmt: skip
    axes.set(xlabel='drops in a row, at least', ylabel='share of batches', yscale='log', ylim=(1e-6, 1))
    axes.legend(loc='upper right')

"""Recorded runs as a picture: loss, spells, accuracy and streaks, whatever their length."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint

COLOURS = {'base': 'tab:blue', 'motivated': 'tab:orange'}

# Points along the batch axis: about as many as a panel has pixels.
_BINS = 600

_LONGEST_STREAK = 8


def draw_switches(runs: Sequence[Path], path: Path) -> None:
    """Draw recorded runs side by side.

    A column a run; from above: the loss, the share of motivated batches, the accuracy of both models
    at each validation, and how often the loss had dropped so many times in a row.

    Args:
        runs: Their work_dirs.
        path: The picture written.

    Raises:
        ConfigError: A run has no trace, or the picture cannot be written.
    """
    traces = [SwitchTrace.load(run) for run in runs]
    figure = Figure(figsize=(2 + 6 * len(runs), 12), layout='constrained')
    panels = figure.subplots(4, len(runs), squeeze=False, sharey='row')
    for column, (run, trace) in enumerate(zip(runs, traces, strict=True)):
        loss, spells, accuracy, streaks = panels[:, column]
        report = _read_report(run)
        loss.set_title(_title(run, trace, report), fontsize=10)
        draw_loss(loss, trace)
        loss.legend(loc='upper right')
        _draw_spells(spells, trace)
        _draw_accuracy(accuracy, report, trace)
        for axes in (spells, accuracy):
            axes.sharex(loss)
        accuracy.set(xlabel='batch')
        _draw_streaks(streaks, trace)
    try:
        figure.savefig(path, dpi=110)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"'{path}' cannot be written ({error}); name a .png, .pdf or .svg in a folder there is"
        ) from error


def _title(run: Path, trace: SwitchTrace, report: dict[str, Any] | None) -> str:
    spells = trace.spells()
    length = f', {sum(end - first for first, end in spells) / len(spells):.1f} batches each' if spells else ''
    policy = f'\n{report["policy"]}, seed {report["seed"]}' if report and 'policy' in report else ''
    return (
        f'{run}{policy}\n{trace.motivated_fraction:.1%} of {len(trace):,} batches motivated, '
        f'in {len(spells):,} spells{length}'
    )


def _read_report(run: Path) -> dict[str, Any] | None:
    """The report of a run; of one that is still going the part of it that its newest checkpoint holds."""
    folder = run if run.is_dir() else run.parent
    if (folder / 'report.json').is_file():
        return json.loads((folder / 'report.json').read_text())
    checkpoints = find_checkpoints(folder)
    return read_checkpoint(checkpoints[-1])['report'] if checkpoints else None


def _edges(count: int, bins: int) -> np.ndarray:
    """Where the bins of ``count`` batches begin, and the end of the last."""
    return np.linspace(0, count, min(count, bins) + 1).round().astype(int)


def draw_loss(axes: Axes, trace: SwitchTrace) -> None:
    """Draw the loss of each batch; of a long run, the median and the range of each stretch of it."""
    losses = np.array(trace.losses)
    axes.set(ylabel='training loss', xlim=(-0.5, max(len(losses), 1) - 0.5))
    if len(losses) <= 2 * _BINS:
        axes.plot(losses, color='0.3', linewidth=0.7, label='loss of each batch')
        return
    edges = _edges(len(losses), _BINS)
    parts = [losses[first:end] for first, end in pairwise(edges)]
    centres = (edges[:-1] + edges[1:] - 1) / 2
    axes.fill_between(
        centres,
        [part.min() for part in parts],
        [part.max() for part in parts],
        color='0.75',
        linewidth=0,
        label='range',
    )
    width = round(len(losses) / len(parts))
    axes.plot(
        centres, [np.median(part) for part in parts], color='0.2', linewidth=0.8, label=f'median of {width} batches'
    )


def _draw_spells(axes: Axes, trace: SwitchTrace) -> None:
    # Few batches a bin would show little but the grain of the binning.
    edges = _edges(len(trace), _BINS if len(trace) <= _BINS else _BINS // 4)
    motivated = np.frombuffer(bytes(trace.motivated), np.uint8)
    shares = [motivated[first:end].mean() for first, end in pairwise(edges)]
    axes.stairs(shares, edges - 0.5, fill=True, color=COLOURS['motivated'])
    axes.set(ylabel='share of motivated batches', ylim=(0, 1.02))


def _draw_accuracy(axes: Axes, report: dict[str, Any] | None, trace: SwitchTrace) -> None:
    history = report['history'] if report else []
    metric = None
    for name in MODEL_NAMES:
        rows = [row for row in history if row[name]['metrics']]
        if rows:
            metric = next(iter(rows[0][name]['metrics']))
            axes.plot(
                [row['iter'] - 1 for row in rows], [row[name]['metrics'][metric] for row in rows],
                marker='.', color=COLOURS[name], label=name,
            )  # fmt: skip
    if metric is None:
        axes.text(0.5, 0.5, 'not validated yet', ha='center', va='center', transform=axes.transAxes)
        return
    axes.set(ylabel=f'validation {metric} (%)')
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')


def streak_shares(losses: Sequence[float], longest: int = _LONGEST_STREAK) -> list[float]:
    """Share of batches after which the loss had dropped at least n times in a row, n = 1, 2, ...

    Args:
        losses: Training loss of each batch.
        longest: The largest n.
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

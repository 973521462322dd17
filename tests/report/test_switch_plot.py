import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.report.structure import ModelScores, RecordedRun, Validation
from motivation.report.switch_plot import draw_loss, draw_switches, streak_shares
from motivation.structures import MODEL_NAMES


def test_streak_shares_by_hand():
    """Drops: . 1 2 3 0 1 0: three batches of six after one drop at least, two after two, one after three."""
    assert streak_shares([9, 8, 7, 6, 7, 6, 8], longest=4) == [4 / 7, 2 / 7, 1 / 7, 0]
    assert streak_shares([], longest=2) == [0, 0]
    assert streak_shares([1.0], longest=2) == [0, 0]


def test_streak_shares_of_independent_losses():
    losses = np.random.default_rng(0).random(200_000)
    assert streak_shares(losses, longest=3) == pytest.approx([1 / 2, 1 / 6, 1 / 24], rel=0.03)


def record(name, batches, validated=True):
    trace = SwitchTrace()
    trace.load_state_dict(
        {
            'epochs': np.zeros(batches, int),
            'losses': np.linspace(2, 0.1, batches) + 0.3 * np.random.default_rng(0).random(batches),
            'motivated': (np.arange(batches) >= batches // 2).astype(np.uint8),
            'decisions': np.zeros(batches, np.uint8),
        }
    )
    rows = [
        Validation(n, n * batches // 4, dict.fromkeys(MODEL_NAMES, ModelScores({'accuracy/top1': 10.0 * n})))
        for n in range(1, 5)
    ]
    return RecordedRun(name, trace, rows if validated else [], 'Never(), seed 0' if validated else None)


@pytest.mark.parametrize('batches', [40, 5_000, 500_000])
def test_picture_shades_the_motivated_half_at_any_length(batches):
    draw_switches([record('run', batches)], Path('out.png'))
    pixels = imread('out.png')[..., :3]
    orange = np.all(np.abs(pixels - np.array([1.0, 0.498, 0.055])) < 0.02, axis=2)
    rows = orange[pixels.shape[0] // 4 : pixels.shape[0] // 2]  # the second panel
    shaded = rows.mean(axis=0)
    first, last = np.flatnonzero(shaded > 0.5)[[0, -1]]
    frame = np.flatnonzero((pixels < 0.1).all(axis=2).mean(axis=0) > 0.2)  # the vertical lines of the frames
    middle = (frame.min() + frame.max()) / 2
    assert abs(first - middle) < 0.02 * pixels.shape[1]
    assert abs(last - frame.max()) < 0.02 * pixels.shape[1]


def test_non_finite_losses_leave_no_gap_in_a_long_run():
    run = record('run', 5_000)
    run.trace.losses[2_500] = math.nan
    axes = Figure().subplots()
    draw_loss(axes, run.trace)
    assert np.isfinite(axes.lines[0].get_ydata()).all()


def test_runs_are_drawn_side_by_side_without_a_report():
    draw_switches([record('one', 300), record('two', 300, validated=False)], Path('out.png'))
    draw_switches([record('one', 300)], Path('single.png'))
    assert imread('out.png').shape[1] > 1.5 * imread('single.png').shape[1]


@pytest.mark.parametrize('out', ['out.foo', 'no/folder/out.png'])
def test_picture_that_cannot_be_written_is_an_error(out):
    with pytest.raises(ConfigError, match=f"'{out}' cannot be written"):
        draw_switches([record('run', 40)], Path(out))

import io
import json

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from motivation.policies.switch_trace import SwitchTrace
from motivation.report.structure import Best, ModelScores, RunReport, Validation
from motivation.report.table import best_values, build_table, render_markdown, write_report
from tests.report.reports import model_compute, model_report, run_report


def report(history=True, counted=True, **values):
    metrics = {'accuracy/top1': 75.051, 'accuracy/top5': 98.0} if history else {}
    best = {'accuracy/top1': Best(80.0, 1)}
    base = model_compute(10**12)
    motivated = model_compute(3 * 10**12, images=1280, seconds=0.0, images_per_second=None, flops_per_second=None)
    scores = ModelScores(metrics, 10**12 if counted else None)
    return run_report(
        model_report(metrics, base if counted else None, best=best),
        model_report(metrics, motivated if counted else None, best=best, model='two', params=272474, iters=10),
        [Validation(1, 40, {'base': scores, 'motivated': scores})] if history else [],
        **values,
    )


def trace_of(motivated):
    trace = SwitchTrace()
    for flag in motivated:
        trace.append(0, 1.0, flag, False)
    return trace


def test_markdown_has_the_values_of_the_report():
    text = render_markdown(report())
    for line in (
        '| model | one | two |',
        '| parameters | 78,042 | 272,474 |',
        '| accuracy/top1 | 75.05 | 75.05 |',
        '| best accuracy/top1 | 80.00 (epoch 1) | 80.00 (epoch 1) |',
        '| forward MMACs an image | 12.500 | 12.500 |',
        '| batches trained on | 30 | 10 |',
        '| training FLOPs | 1e+12 | 3e+12 |',
        '- policy: ConsecutiveDrop(drops=2)',
        '- motivated batches: 25.0% in 2 spells',
        '- saving: 2.50 x',
        '- wall time: 1,234 s',
    ):
        assert line in text.splitlines()
    assert 'FLOPs = 2 x MACs' in text


def test_table_has_the_same_values_as_markdown():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(build_table(report()))
    text = console.export_text()
    assert all(number in text for number in ('78,042', '272,474', '75.05', '2.50 x', '25.0% in 2 spells'))


def test_written_report_is_restored(tmp_path):
    paths = write_report(report(), trace_of([0, 1, 1, 0]), tmp_path)
    assert [path.name for path in paths] == ['report.json', 'report.md', 'report.png']
    assert json.loads(paths[0].read_text()) == report().to_json() and RunReport.read(paths[0]) == report()
    paths = write_report(report(), trace_of([0, 1]), tmp_path, picture=False)
    assert [path.name for path in paths] == ['report.json', 'report.md']


@pytest.mark.parametrize('batches', [8, 8000])
def test_picture_shades_the_motivated_spells(tmp_path, batches):
    """The last half is motivated, and every fourth batch of the first half."""
    flags = [i >= batches // 2 or i % 4 == 0 for i in range(batches)]
    pixels = imread(write_report(report(), trace_of(flags), tmp_path)[2])[..., :3]
    # A row of pixels in the upper panel, above the curve and left of the legend: white, or shaded in orange, which
    # has little blue.
    frame = np.flatnonzero((pixels[50:250] < 0.1).all(axis=2).mean(axis=0) > 0.9)
    left, right = frame.min() + 3, frame.max() - 3
    shade = 1 - pixels[60, left:right, 2]
    quarter = len(shade) // 4
    full = shade[2 * quarter : 3 * quarter].mean()
    assert full > 0.4
    assert shade[: 2 * quarter].mean() == pytest.approx(full / 4, rel=0.1)


def test_best_accuracy_is_the_first_maximum():
    values = [70.0, 90.0, 90.0, 80.0]
    history = [
        Validation(2 * i, i, {'base': ModelScores({'accuracy/top1': value, 'loss': value})})
        for i, value in enumerate(values, 1)
    ]
    assert best_values(history, 'base') == {'accuracy/top1': Best(90.0, 4)}
    assert best_values([], 'base') == {}


def test_run_without_validation_is_reported(tmp_path):
    paths = write_report(report(history=False), trace_of([0]), tmp_path)
    assert 'accuracy' not in paths[1].read_text()
    assert np.asarray(imread(paths[2])).size > 0


def test_report_without_compute_gives_the_reason_and_no_rows(tmp_path):
    paths = write_report(report(counted=False, not_counted='no formula for foo'), trace_of([0, 1]), tmp_path)
    text = paths[1].read_text()
    assert '| batches trained on | 30 | 10 |' in text and '- compute: not counted: no formula for foo' in text
    assert 'saving' not in text and 'MMACs an image' not in text and 'seconds' not in text
    assert imread(paths[2]).shape[0] < imread(write_report(report(), trace_of([0, 1]), tmp_path)[2]).shape[0]  # a panel

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from motivation.errors import ConfigError
from motivation.evaluation.cascade import assess
from motivation.evaluation.cascade_result import Latency
from motivation.report.cascade_files import check_folder
from motivation.report.cascade_picture import draw_cascade
from motivation.report.cascade_table import curve_grid, main_grid, sentences
from tests.evaluation.test_cascade import random_logits

LATENCY = Latency(base=1.0, motivated=4.0, cascade=3.0, passed_on=0.5, images=10)


@pytest.fixture(scope='module')
def result():
    return assess(*random_logits(600), {'base': 1_000_000, 'motivated': 4_000_000})


def row(grid, label):
    return next(cells for cells in grid.rows if cells[0] == label)


def test_table_holds_both_models_and_both_thresholds(result):
    grid = main_grid(result, LATENCY)
    equal, best = result.equal_accuracy, result.best_accuracy
    assert row(grid, 'MMACs') == [
        'MMACs', '1.00', '4.00', f'{1 + 4 * equal.passed_on.value:.2f}', f'{1 + 4 * best.passed_on.value:.2f}'
    ]  # fmt: skip
    assert row(grid, 'of motivated')[1:3] == ['25%', '100%']
    assert row(grid, 'accuracy (%)')[2:4] == [f'{result.alone["motivated"].value:.2f}', f'{equal.accuracy.value:.2f}']
    assert row(grid, 'over motivated')[3] == f'{equal.accuracy.value - result.alone["motivated"].value:+.2f}'
    assert row(grid, 'ms')[1:] == ['1.00', '4.00', '3.00', '']


def test_tables_fit_a_terminal_of_80_columns(result):
    console = Console(width=80, file=io.StringIO())
    for grid in (main_grid(result, LATENCY), curve_grid(result)):
        console.print(grid.rich())
        assert len(grid.rich().rows) == len(grid.rows) == len(grid.markdown().splitlines()) - 2
    lines = console.file.getvalue().splitlines()
    assert '…' not in console.file.getvalue()
    # Heads, rules, and one line a row.
    assert len(lines) == 1 + 1 + 13 + 1 + 1 + len(curve_grid(result).rows)


def test_sentences_say_when_nothing_is_saved_or_shown():
    logits, targets = random_logits(300)
    dear = assess(logits, targets, {'base': 3_900_000, 'motivated': 4_000_000})
    said = ' '.join(sentences(dear, LATENCY))
    assert dear.relative_cost > 0.9 and 'the cascade saves little or nothing' in said
    cheap = assess({**logits, 'base': logits['motivated']}, targets, {'base': 1_000_000, 'motivated': 4_000_000})
    said = ' '.join(sentences(cheap, LATENCY))
    assert '25% of the motivated model alone' in said and 'saves little' not in said
    assert row(main_grid(cheap, LATENCY), 'threshold')[3] == 'none passed on'
    assert 'by +0.00 [-1.29, 1.29] points: not beyond chance' in said  # 1.96 / (150 + 2)


def test_picture_of_equal_models_is_drawn():
    logits, targets = random_logits(40)
    same = assess({**logits, 'base': logits['motivated']}, targets, {'base': 1_000_000, 'motivated': 4_000_000})
    file = io.BytesIO()
    draw_cascade(same, 'title', file)
    pixels = np.asarray(Image.open(file).convert('RGB'))
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)[::7]}
    assert {(31, 119, 180), (255, 127, 14)} <= colours  # of both models, in matplotlib's palette
    # Left, the base model is seen within both markers of the cascade, which lie on it.
    left = pixels[: pixels.shape[0] * 3 // 4, : pixels.shape[1] // 3]
    assert (left == (31, 119, 180)).all(axis=2).sum() > 30


def test_folder_that_holds_one_of_the_files_is_refused(tmp_path):
    check_folder(tmp_path / 'new/one', overwrite=False)
    assert not (tmp_path / 'new').exists()
    (tmp_path / 'cascade.md').write_text('')
    with pytest.raises(ConfigError, match=r'already holds cascade\.md; name another --out, or give --overwrite'):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match='is a file or in one'):
        check_folder(tmp_path / 'cascade.md/below', overwrite=True)
    with pytest.raises(ConfigError, match=r"^the folder '/proc/x' cannot be written \(.*\); name another with --out$"):
        check_folder(Path('/proc/x'), overwrite=False)

"""Results of single classes, confusions, and the files made of predictions."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix as reference
from sklearn.metrics import f1_score

from motivation.evaluation.predictions import Predictions
from motivation.report import prediction_pictures
from motivation.report.class_results import add_class_results, class_results, render_classes, worst_confusions
from motivation.report.prediction_files import write_predictions
from motivation.report.prediction_pictures import draw_confusions, draw_disagreements, only_one_right

CLASSES = ['ant', 'bee', 'cat|x', 'never']


def predictions(count=40, classes=3, several=False):
    random = np.random.default_rng(3)

    def draw():
        return random.random((count, classes)) < 0.5 if several else random.integers(classes, size=count)

    shape = (count, classes) if several else count
    return Predictions(
        [f'{number}.png' for number in range(count)],
        np.arange(count),
        draw(),
        {name: draw() for name in ('base', 'motivated', 'motivated/ema')},
        {name: random.random(shape).astype(np.float32) for name in ('base', 'motivated', 'motivated/ema')},
    )


def rows_of(found, classes=CLASSES):
    file = io.BytesIO()
    write_predictions(found, classes, file)
    return list(csv.DictReader(io.StringIO(file.getvalue().decode())))


def test_result_of_a_class_is_the_share_of_its_images_that_are_right():
    found = predictions()
    matrix = {name: reference(found.targets, found.predicted[name]) for name in ('base', 'motivated')}
    rows = class_results(found, CLASSES)
    assert [row['class'] for row in rows] == CLASSES[:3]  # no image of the last
    for place, row in enumerate(rows):
        assert row['images'] == (found.targets == place).sum()
        for name, of in matrix.items():
            assert np.isclose(row[name], 100 * of[place, place] / of[place].sum())


def test_result_of_a_label_is_its_f1():
    found = predictions(several=True)
    rows = class_results(found, CLASSES[:3])
    expected = f1_score(found.targets, found.predicted['base'], average=None)
    np.testing.assert_allclose([row['base'] for row in rows], 100 * expected)


def test_worst_confusions_are_the_largest_counts_off_the_diagonal():
    found = predictions()
    matrix = reference(found.targets, found.predicted['base'])
    np.fill_diagonal(matrix, 0)
    rows = worst_confusions(found, 'base', CLASSES)
    assert [row['count'] for row in rows] == sorted(matrix[matrix > 0].tolist(), reverse=True)
    for row in rows:
        assert matrix[CLASSES.index(row['true']), CLASSES.index(row['predicted'])] == row['count']


def test_report_shows_the_ten_lowest_of_many_classes():
    found = predictions(400, 12)
    report = {}
    add_class_results(report, found, [f'class {place}' for place in range(12)])
    text = render_classes(report)
    table = text.split('## ')[1].splitlines()
    assert table[0] == 'Single classes (percent right, the 10 lowest of 12)'
    means = [sum(map(float, line.split('|')[3:5])) for line in table[4:] if line]
    assert len(means) == 10 and means == sorted(means) and len(report['classes']) == 12
    assert text.count('\n| class 1') > 0 and text.count('\n| ') == 1 + 10 + 2 * (1 + 10) + 3
    assert render_classes({}) == ''


def test_csv_has_what_each_model_said_of_each_image():
    found = predictions()
    rows = rows_of(found)
    assert len(rows) == 40 and rows[0].keys() >= {'motivated_ema', 'motivated_ema_right'}
    for place, row in enumerate(rows):
        assert (row['image'], row['index'], row['target']) == (
            f'{place}.png',
            str(place),
            CLASSES[found.targets[place]],
        )
        for name, column in (('base', 'base'), ('motivated/ema', 'motivated_ema')):
            assert row[column] == CLASSES[found.predicted[name][place]]
            assert float(row[f'{column}_probability']) == round(float(found.probabilities[name][place]), 6)
            assert row[f'{column}_right'] == str(int(found.predicted[name][place] == found.targets[place]))


def test_csv_joins_several_labels():
    found = predictions(several=True)
    for place, row in enumerate(rows_of(found, ['a', 'b', 'c'])):
        labels = [label for label, has in zip('abc', found.predicted['base'][place], strict=True) if has]
        assert row['base'] == '|'.join(labels)
        assert len(row['base_probability'].split('|')) == max(1, len(labels))
        assert row['base_right'] == str(int((found.predicted['base'][place] == found.targets[place]).all()))


def test_images_that_only_one_model_gets_right_begin_with_the_surest():
    found = predictions()
    rows = only_one_right(found, 'motivated')
    right = {name: found.predicted[name] == found.targets for name in ('base', 'motivated')}
    assert sorted(rows) == np.flatnonzero(right['motivated'] & ~right['base']).tolist() and len(rows) > 2
    assert (np.diff(found.probabilities['motivated'][rows]) <= 0).all()


def test_pictures_take_one_or_three_channels_and_unreadable_images():
    images = {0: None, 1: torch.rand(1, 8, 8), 2: torch.randint(256, (3, 8, 8), dtype=torch.uint8)}
    asked = []

    def load(index):
        asked.append(index)
        return images[index % 3]

    file = io.BytesIO()
    draw_disagreements(predictions(24), ['$a', 'b', 'c'], load, file)
    assert Image.open(file).format == 'PNG' and len(set(asked)) == len(asked) > 1
    file = io.BytesIO()
    draw_confusions(predictions(400, 30), [f'class {place}' for place in range(30)], file)
    assert Image.open(file).format == 'PNG'


def test_picture_of_disagreements_is_as_wide_as_its_images():
    widths = []
    for count in (8, 400):
        file = io.BytesIO()
        draw_disagreements(predictions(count), ['a', 'b', 'c'], lambda _: None, file)
        widths.append(Image.open(file).width)
    assert widths[0] < widths[1]


def test_class_without_images_is_no_row_of_zeros(monkeypatch):
    found = predictions(40)
    drawn = []
    monkeypatch.setattr(prediction_pictures, '_draw_matrix', lambda axes, percent, labels: drawn.append(percent))
    draw_confusions(found, ['a', 'b', 'c', 'absent'], io.BytesIO())
    assert len(drawn) == 2 and all(np.isnan(percent[3]).all() for percent in drawn)
    assert all(percent[:3].sum(axis=1) == pytest.approx(100) for percent in drawn)

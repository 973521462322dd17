"""A model for several labels an image, from a list of files to predictions."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from motivation.errors import ConfigError
from motivation.export.cascade_study import study_cascade
from motivation.export.deployable import Deployable
from motivation.export.export_run import ExportedFile
from motivation.export.exported_model import load_exported
from motivation.export.finished_run import FinishedRun
from motivation.export.model_card import write_card
from motivation.export.parity import Parity
from motivation.export.parity_table import parity_table
from motivation.export.predicting import Predictor
from motivation.export.prediction_formats import Choice, as_csv, as_json_lines, as_text
from tests import several_labels  # noqa: F401, registers ExactMatch
from tests.conftest import train
from tests.export.recorded import Recorded
from tests.export.test_export_run import export
from tests.export.test_exported_model import folder_config, write_images

LABELS = ('', 'cat', 'cat;dog', 'dog', 'cat', '')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder of images and of a run in its ``run``."""
    folder = tmp_path_factory.mktemp('several')
    write_images(folder / 'images')
    rows = [
        f'{split}/{name}/{place}.png,{split},{labels}'
        for split in ('train', 'val')
        for name in ('cat', 'dog')
        for place, labels in enumerate(LABELS)
    ]
    (folder / 'images/labels.csv').write_text('\n'.join(['path,split,label', *rows]) + '\n')
    config = folder_config(folder / 'run', str(folder / 'images'))
    for stage, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        config[f'{stage}_dataloader'].dataset = dict(
            type='LabelFileDataset', file=str(folder / 'images/labels.csv'), split=split, several_labels=True,
            transforms=[dict(type='CenterCrop', size=(8, 8))],
        )  # fmt: skip
    config.val_dataloader.pop('num_batch_per_epoch')
    config.val_evaluator = config.test_evaluator = dict(type='ExactMatch')
    for name in ('base', 'motivated'):
        config.model[name].loss = dict(type='MultiLabelLoss', pos_weight='auto')
    config.motivation.policy = dict(type='Periodic', on=1, off=1)
    train(config)
    return folder


@pytest.fixture(scope='module')
def predicted(folder):
    predictor = Predictor.load(folder / 'run', ['base'])
    images = sorted(str(path) for path in (folder / 'images/val').rglob('*.png'))
    return predictor, images, list(predictor(images))


def test_probabilities_are_of_each_class_by_itself(folder, predicted):
    predictor, _, predictions = predicted
    model = load_exported(folder / 'run/base.pth')
    assert predictor.outputs == model.outputs == model.metainfo['outputs'] == 'sigmoid'
    batch = next(FinishedRun.open(folder / 'run').validation())
    with torch.no_grad():
        logits = model(model.data_preprocessor(batch)['inputs'])
    assert batch['targets'].tolist()[:3] == [[0, 0], [1, 0], [1, 1]]
    expected = 1 / (1 + np.exp(-logits.double().numpy()))
    for prediction, row in zip(predictions, expected, strict=False):
        assert prediction.probabilities['base'].tolist() == pytest.approx(row.tolist(), abs=1e-6)
        for threshold in (0.0, 0.4, 0.5, 1.0):
            named = [guess.name for guess in prediction.above(threshold)]
            ranked = sorted(zip(-row, ('cat', 'dog'), strict=True))
            assert named == [name for value, name in ranked if -value > threshold]


def test_formats_write_every_class_above_the_threshold(predicted):
    predictor, images, predictions = predicted
    choice = Choice.of(predictor)
    chosen = [prediction.above(0.5) for prediction in predictions]
    assert choice.top_k is None and choice.threshold == 0.5 and len({len(guesses) for guesses in chosen}) > 1
    rows = list(csv.DictReader(io.StringIO(''.join(as_csv(predictions, choice)))))
    assert len(rows) == sum(max(len(guesses), 1) for guesses in chosen)
    lines = [json.loads(line) for line in as_json_lines(predictions, choice)]
    assert [[guess['class'] for guess in line['predictions']] for line in lines] == [
        [guess.name for guess in guesses] for guesses in chosen
    ]
    none = Choice.of(predictor, threshold=1.0)
    assert next(iter(as_text(images, predictor.classes)(predictions, none))) == f'{images[0]}\n  none above 1\n'
    (empty, *_) = csv.DictReader(io.StringIO(''.join(as_csv(predictions, none))))
    assert (empty['model'], empty['class'], empty['probability']) == ('base', '', '')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(top_k=3), "^--top-k is 3, and '.*' gives several labels an image, of which all above --threshold are"),
        (dict(threshold=1.5), r'^--threshold must be from 0 to 1, got 1\.5$'),
    ],
)
def test_option_of_other_models_is_an_error(predicted, given, message):
    with pytest.raises(ConfigError, match=message):
        Choice.of(predicted[0], **given)


def test_threshold_of_a_model_with_one_label_is_an_error(finished):
    with pytest.raises(ConfigError, match=r'^--threshold is 0\.3, and .* gives one label an image; leave it out'):
        Choice.of(Predictor.load(finished, ['base']), threshold=0.3)


def test_exported_files_are_compared_by_the_labels_of_each_image(folder, tmp_path):
    run = FinishedRun.open(folder / 'run')
    batches = list(run.validation())
    Recorded.known = torch.cat([batch['inputs'] for batch in batches])
    export(run, tmp_path)
    report = json.loads((tmp_path / 'base/model.npz.parity.json').read_text())
    model = load_exported(folder / 'run/base.pth')
    with torch.no_grad():
        answers = torch.cat([model(model.data_preprocessor(batch)['inputs']) for batch in batches]) > 0
    targets = torch.cat([batch['targets'] for batch in batches]) > 0
    exact = 100 * (answers == targets).all(dim=1).double().mean().item()
    assert report['equal_top1'] == 1.0 and report['accuracy_top1'] == pytest.approx(exact)
    assert json.loads((tmp_path / 'base/description.json').read_text())['outputs'] == 'sigmoid'
    card = (tmp_path / 'base/README.md').read_text()
    assert 'classifier of 2 classes, any number of which an image may have, with' in card
    assert 'same exact match % | exact match % |' in card and 'top-1' not in card
    parity = Parity(**report)
    lines = Console(width=200, file=io.StringIO(), record=True)
    lines.print(parity_table([ExportedFile('base', 'recorded', tmp_path / 'base/model.npz', parity)]))
    text = lines.export_text()
    assert 'exact match in PyTorch' in text and 'top-1' not in text


def test_card_says_how_logits_become_labels(folder, tmp_path):
    run = FinishedRun.open(folder / 'run')
    (tmp_path / 'model.pt2').touch()
    write_card(tmp_path, 'base', run, Deployable.load(folder / 'run/base.pth'))
    loading = (tmp_path / 'README.md').read_text().partition('## Load it')[2]
    assert 'logits = model(images)  # tensors\nlabels = logits > 0  # each class by itself: its probability' in loading


def test_cascade_of_models_with_several_labels_is_an_error(folder):
    with pytest.raises(
        ConfigError, match=r"^the models of '.*' give several labels an image, and a cascade is of models"
    ):
        study_cascade(FinishedRun.open(folder / 'run'))

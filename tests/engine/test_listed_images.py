"""Runs on images that files list: checks before training, and the picture of a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image

from motivation.cli import prepare_check
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.export.predicting import Predictor
from motivation.registry import METRICS, RUNNERS
from motivation.report.batch_picture import draw_batch
from tests.conftest import DIGITS, train
from tests.small import SMALL_PAIR, small_config

CLASSES = [f'digit {number}' for number in range(10)]


@pytest.fixture(autouse=True)
def _images():
    rows = ['path,label,split']
    Path('images').mkdir()
    for number in range(40):
        Image.new('L', (8, 8), 6 * number).save(f'images/{number}.png')
        rows.append(f'images/{number}.png,digit {number % 10},{"val" if number >= 30 else "train"}')
    Path('labels.csv').write_text('\n'.join(rows))


def listed(split, file='labels.csv', **fields):
    return dict(type='LabelFileDataset', file=file, split=split, image_mode='L', **fields)


def config(train_data, val_data, **options):
    made = small_config('run', 1, **options)
    made.train_dataloader.pop('num_batch_per_epoch')
    made.train_dataloader.batch_size = 10
    made.train_dataloader.dataset = train_data
    made.val_dataloader.pop('num_batch_per_epoch')
    made.val_dataloader.dataset = val_data
    return made


def test_validation_images_that_are_trained_on_are_named(caplog):
    Path('val.csv').write_text('path,label\n' + ''.join(f'images/{n}.png,digit {n % 10}\n' for n in range(20, 40)))
    val = dict(listed(None, 'val.csv'), classes=CLASSES)
    made = config(listed('train'), val, **{'train_cfg.type': 'CheckLoop'})
    with caplog.at_level('WARNING'):
        runner = train(made)
    said = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert "10 of 20 images of val_dataloader.dataset are in train_dataloader.dataset as well ('images/20.png'," in said


def test_validation_file_that_lacks_a_class_is_refused_with_the_way_out():
    Path('val.csv').write_text('path,label\nimages/0.png,digit 0\n')
    message = (
        r"class 1 is 'digit 1' in train_dataloader\.dataset and absent in val_dataloader\.dataset, which lacks 'digit 1'.*; "
        r'both need one list of classes: .* the same dataset\.classes, a list of names, a file'
    )
    with pytest.raises(ConfigError, match=message):
        train(config(listed('train'), listed(None, 'val.csv')))


@pytest.mark.parametrize(
    ('loader', 'transform', 'size'),
    [
        ('DataLoader', dict(type='RandomInvert', p=1.0), 4),
        ('DeviceDataLoader', dict(type='RandomHorizontalFlip'), None),
    ],
)
def test_picture_shows_what_the_models_see_first(loader, transform, size, monkeypatch):
    shapes = []

    def record(groups, labels, file):
        shapes.extend(images.shape for images in groups.values())
        draw_batch(groups, labels, file)

    monkeypatch.setattr('motivation.engine.seen_images.draw_batch', record)
    options = {
        **SMALL_PAIR, 'train_dataloader.type': loader, 'default_hooks.compute_meter': None, 'model.motivated.mean': [0.1],
        **({'train_cfg.parts': [dict(share=0.5, image_size=size), dict(share=0.5)]} if size else {}),
    }  # fmt: skip
    built = prepare_check(DIGITS, options, 'batch.png')
    built.train_dataloader.dataset = listed('train', transforms=[transform])
    built.train_dataloader.batch_size = 8
    built.val_dataloader.dataset = listed('val')
    runner = RUNNERS.build(built)
    assert isinstance(runner, DualModelRunner)
    runner.train()
    sheet = np.asarray(Image.open('batch.png'))
    assert shapes == [(8, 1, size or 8, size or 8)]  # once, for both models
    greys = {int(sheet[100, 12 + place * 124 + 50, 0]) for place in range(8)}
    offset = 255 if transform['type'] == 'RandomInvert' else 0
    assert len(greys) == 8 and all((offset - grey) % 6 == 0 for grey in greys)
    assert not Path(runner.work_dir).exists() or not list(Path(runner.work_dir).glob('*.png'))


def test_picture_needs_a_place():
    for picture, message in (('batch.jpg', 'must be a file named .png'), ('none/batch.png', 'cannot be written')):
        with pytest.raises(ConfigError, match=message):
            prepare_check(DIGITS, None, picture)


@METRICS.register_module(force=True)
class ShareOfZeros(BaseMetric):
    """What targets a metric gets."""

    default_prefix = 'targets'

    def process(self, data_batch, data_samples):
        self.results += [1 - sample['target'].mean().item() for sample in data_samples]

    def compute_metrics(self, results):
        return {'zeros': sum(results) / len(results)}


def test_several_labels_are_trained_exported_and_predicted_by_name():
    names = ['dark', 'bright', 'never']
    rows = [f'images/{number}.png,{"bright" if number > 20 else "dark"}' for number in range(40)]
    Path('several.csv').write_text('path,label\n' + '\n'.join(rows))
    data = dict(type='LabelFileDataset', file='several.csv', several_labels=True, classes=names, image_mode='L')
    options = {f'model.{model}.{field}': value for model in ('base', 'motivated')
               for field, value in (('num_classes', 3), ('loss', dict(type='MultiLabelLoss')))}  # fmt: skip
    made = config(data, data, **options)
    made.val_evaluator = dict(type='ShareOfZeros')
    runner = train(made)
    assert runner.message_hub.get_scalar('val/base/targets/zeros').current() == pytest.approx(2 / 3)
    predictor = Predictor.load('run/base.pth')
    assert predictor.classes == names
    (prediction,) = predictor(['images/39.png'])
    model = load_exported('run/base.pth')
    pixels = torch.full((1, 1, 8, 8), 6 * 39, dtype=torch.uint8)
    logits = model(model.data_preprocessor({'inputs': pixels})['inputs'])[0]
    assert [guess.name for guess in prediction.top(3)] == [names[index] for index in logits.argsort(descending=True)]
    assert prediction.top()[0].name == 'bright'

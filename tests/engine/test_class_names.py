"""Class indices mean the same in a checkpoint and in the current data."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from motivation.cli import prepare_training
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import MotivationHook
from motivation.registry import DATASETS
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import read_checkpoint, write_checkpoint
from tests.conftest import DIGITS, Begun, digits_config, snapshot, train
from tests.export.test_exported_model import folder_config, write_images


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run on cats and dogs, of which each test has a copy."""
    folder = tmp_path_factory.mktemp('trained')
    write_images(folder / 'images')
    train(folder_config(folder / 'run', str(folder / 'images')))
    return folder


@pytest.fixture
def images(trained):
    shutil.copytree(trained / 'run', 'run')
    return lambda *names: write_images('images', names)


def config(work_dir='run', epochs=1, **fields):
    made = folder_config(work_dir, 'images', epochs)
    for name, value in fields.items():
        made[name] = value
    return made


OTHERS = (
    r"^class 0 is 'cat' in checkpoint '.*run/epoch_1\.pth' and 'dog' in {}_dataloader\.dataset, which lacks 'cat' and has 'zebra' more; "
    'give the class folders'
)


def test_evaluating_on_folders_that_sort_differently_raises(images):
    images('dog', 'zebra')
    with pytest.raises(ConfigError, match=OTHERS.format('test')):
        DualModelRunner.from_cfg(config('test', load_from='run/epoch_1.pth', allow_changes=True)).test()


def test_resume_allows_another_root_but_not_other_classes(images):
    images('cat', 'dog')
    assert train(config(epochs=2, resume=True, allow_changes=True)).epoch == 2
    shutil.rmtree('images')
    images('dog', 'zebra')
    Path('run/epoch_2.pth').unlink()
    with pytest.raises(ConfigError, match=OTHERS.format('train')):
        train(config(epochs=2, resume=True, allow_changes=True))


def test_load_from_with_other_classes_needs_allow_changes(images, capsys):
    images('dog', 'zebra')
    with pytest.raises(
        ConfigError, match=r'and .dog. in train_dataloader.*heads with --allow-changes, .*new_head=True'
    ):
        train(config('new', load_from='run/epoch_1.pth'))
    train(config('new', load_from='run/epoch_1.pth', allow_changes=True))
    assert load_exported('new/base.pth').metainfo['classes'] == ['dog', 'zebra']
    said = "both models have the weights of 'run/epoch_1.pth', and keep its heads, which were trained on other classes"
    assert (
        f'pretrained {said}' in ' '.join(capsys.readouterr().out.split()) and said in Path('new/report.md').read_text()
    )
    report = json.loads(Path('new/report.json').read_text())
    assert report['pretraining'] == dict(path='run/epoch_1.pth', heads='others', said=said)
    Path('new/report.json').unlink()
    train(config('new', load_from='new/epoch_1.pth', resume=True))
    assert json.loads(Path('new/report.json').read_text())['pretraining'] == report['pretraining']
    assert prepare_training(DIGITS, 'other', allow_changes=True).allow_changes  # also without --resume


def test_heads_are_new_for_another_number_of_classes_and_the_rest_is_loaded(images, capsys):
    images('cat', 'dog', 'zebra')
    began = config('new', load_from='run/epoch_1.pth')
    for name in MODEL_NAMES:
        began.model[name].num_classes = 3
    runner = DualModelRunner.from_cfg(began)
    runner.register_hook(begun := Begun())
    fresh, loaded = snapshot(runner.model), read_checkpoint(Path('run/epoch_1.pth'))['state_dict']
    runner.train()
    for name, value in loaded.items():
        if name != '_extra_state':
            assert torch.equal(begun.weights[name], fresh[name] if '.fc.' in name else value), name
    assert (
        "the heads of both models are new, for 3 classes: those of 'run/epoch_1.pth' are for 2"
        in capsys.readouterr().out
    )
    assert load_exported('new/motivated.pth').metainfo['classes'] == ['cat', 'dog', 'zebra']


def test_teacher_with_other_classes_raises(images):
    images('dog', 'zebra')
    taught = config('taught')
    taught.merge_from_dict({'model.base.type': 'DistilledClassifier', 'model.base.teacher': 'run/motivated.pth'})
    with pytest.raises(ConfigError, match=r"class 0 is 'cat' in model\.base\.teacher and 'dog' in train_dataloader"):
        train(taught)


def test_class_names_are_compared_in_one_unicode_form():
    write_images('images', ('a', unicodedata.normalize('NFC', 'é')))
    Path('images/val', unicodedata.normalize('NFC', 'é')).rename(Path('images/val', unicodedata.normalize('NFD', 'é')))
    train(config())
    checkpoint = read_checkpoint(Path('run/epoch_1.pth'))
    assert checkpoint['meta']['dataset_meta']['classes'] == ['a', unicodedata.normalize('NFC', 'é')]
    checkpoint['meta']['dataset_meta']['classes'] = [
        'a',
        unicodedata.normalize('NFD', 'é'),
    ]  # of data of the user's own
    write_checkpoint(checkpoint, Path('decomposed.pth'))
    train(config('new', load_from='decomposed.pth'))


def test_data_with_another_number_of_classes_raises(tmp_path):
    options = {'model.base.num_classes': 7, 'model.motivated.num_classes': 7}
    config = digits_config(tmp_path / 'run', **options)
    message = r'model\.base\.num_classes is 7, but train_dataloader\.dataset has 10 classes'
    with pytest.raises(ConfigError, match=message):
        train(config)


def test_dataset_without_class_names_trains(tmp_path):
    @DATASETS.register_module(force=True)
    class Nameless(torch.utils.data.Dataset):
        def __len__(self):
            return 128

        def __getitem__(self, index):
            return {'inputs': torch.full((1, 8, 8), index, dtype=torch.uint8), 'targets': index % 10}

    config = digits_config(tmp_path / 'run', epochs=1)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.dataset = config.val_dataloader.dataset = dict(type='Nameless')
    assert len(train(config).find_hook(MotivationHook).trace) == 2


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            '0123',
            r"class 4 is '4' in train_dataloader\.dataset and absent in val_dataloader\.dataset, which lacks '4', '5', .* both need one list",
        ),
        ('01234567x9', r"class 8 is '8' in train_dataloader\.dataset and '9' in val_dataloader\.dataset"),
    ],
)
def test_validation_data_with_other_classes_raises(tmp_path, classes, message):
    for name in classes:
        folder = tmp_path / 'images/val' / name
        folder.mkdir(parents=True)
        Image.new('L', (8, 8)).save(folder / 'one.png')
    config = digits_config(tmp_path / 'run')
    config.val_dataloader.dataset = dict(type='TimmDataset', root='images', split='val', image_mode='L')
    with pytest.raises(ConfigError, match=message):
        train(config)

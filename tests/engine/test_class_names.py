"""Class indices mean the same in a checkpoint and in the current data."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from motivation.cli import prepare_training
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.utils.checkpoint import read_checkpoint, write_checkpoint
from tests.conftest import DIGITS, train
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
    r"^class 0 is 'cat' in checkpoint '.*run/epoch_1\.pth' and 'dog' in {}_dataloader\.dataset; give the class folders"
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


def test_load_from_with_other_classes_needs_allow_changes(images):
    images('dog', 'zebra')
    with pytest.raises(ConfigError, match=r'and .dog. in train_dataloader.*with --allow-changes$'):
        train(config('new', load_from='run/epoch_1.pth'))
    train(config('new', load_from='run/epoch_1.pth', allow_changes=True))
    assert load_exported('new/base.pth').metainfo['classes'] == ['dog', 'zebra']
    assert prepare_training(DIGITS, 'other', allow_changes=True).allow_changes  # also without --resume


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

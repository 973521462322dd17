"""Configs for folders and lists of images: what is found, what is chosen, and that they train."""

import csv
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.datasets import LabelFileDataset, TimmDataset
from motivation.errors import ConfigError
from motivation.first_config.data import find_data
from motivation.first_config.write import write_first_config
from tests.conftest import train

COUNTS = {'a': 24, 'b': 12, 'c10': 6, 'c9': 5}
PAIR = ('cifar_resnet8', 'cifar_resnet20')


def draw(path, mode='RGB', size=(30, 40), grey=False, seed=0):
    values = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 1 if grey else 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(values, 3, 2) if grey else values).convert(mode).save(path)


def draw_classes(folder, counts=COUNTS, **kwargs):
    for label, count in counts.items():
        for index in range(count):
            draw(Path(folder) / label / f'{index}.png', seed=index, **kwargs)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder of classes only, of mixed sizes, modes and formats."""
    folder = tmp_path_factory.mktemp('first') / 'my photos'
    kinds = [('RGB', 'png'), ('RGB', 'jpg'), ('RGBA', 'png'), ('P', 'gif'), ('L', 'png'), ('CMYK', 'jpg')]
    drawn = random.Random(0)
    for label, count in COUNTS.items():
        for index in range(count):
            mode, extension = kinds[index % len(kinds)]
            size = (drawn.randint(20, 40), drawn.randint(28, 44))
            draw(folder / label / f'{index}.{extension}', mode, size, seed=index)
    return folder


def test_folder_of_classes_is_divided_by_class_and_the_config_trains_both_models(photos, capsys):
    path = write_first_config(str(photos), models=PAIR)
    assert str(path) == 'my_photos.py'
    printed = capsys.readouterr().out
    for line in (
        'images     38 to train on, 9 to validate on',
        "classes    4: a 19, b 10, 'c9' 4, 'c10' 5; unbalanced, 4.8 to 1",
        'models     cifar_resnet8 in cifar_resnet20 at 32 px',
        'schedule   120 epochs of 5 batches of 8\nduration   between about ',
        'warning    38 images to train on are too few to learn from: ',
        'written    my_photos_split.csv\nwritten    my_photos.py\n',
        'next       motivation check my_photos.py\n           motivation train my_photos.py\n',
    ):
        assert line in printed, line
    rows = list(csv.DictReader(Path('my_photos_split.csv').read_text().splitlines()))
    assert len({row['path'] for row in rows}) == len(rows) == 47 and (photos / rows[0]['path']).is_file()
    validated = Counter(row['label'] for row in rows if row['split'] == 'val')
    assert validated == {label: round(count / 5) for label, count in COUNTS.items()}

    config = load_config(str(path), {'train_cfg.max_epochs': 1, 'default_hooks.compute_meter': None})
    check_config(config)
    config.default_hooks.report.picture = False
    config.work_dir = 'run'
    runner = train(config)
    report = runner.model.base.num_classes, runner.val_dataloader.dataset.metainfo['classes']
    assert report == (4, ['a', 'b', 'c9', 'c10'])
    assert Path('run/base.pth').is_file() and Path('run/motivated.pth').is_file()
    text = path.read_text()
    assert "average='macro'" in text and "class_weights='auto'" in text
    assert [line for line in text.splitlines() if len(line) > 120 and str(photos) not in line] == []


def test_existing_files_are_never_replaced(photos):
    Path('x_split.csv').write_text('mine')
    with pytest.raises(ConfigError, match=r"'x_split\.csv' exists already"):
        write_first_config(str(photos), 'x.py', PAIR)
    Path('y.py').write_text('mine')
    with pytest.raises(ConfigError, match=r"'y\.py' exists already"):
        write_first_config(str(photos), 'y.py', PAIR)
    assert not Path('x.py').exists() and Path('x_split.csv').read_text() == Path('y.py').read_text() == 'mine'


def test_folders_of_splits_are_used_as_they_are_and_grey_images_get_one_channel():
    draw_classes('data/train', grey=True)
    draw_classes('data/Val', {'a': 3, 'c9': 2}, grey=True)
    draw_classes('data/test', {'b': 1}, grey=True)
    path = write_first_config('data', 'grey.py', PAIR)
    assert not Path('grey_split.csv').exists()
    config = load_config(str(path))
    for loader, split, images, labels in (
        (config.train_dataloader, 'train', 47, Counter({0: 24, 1: 12, 2: 5, 3: 6})),
        (config.val_dataloader, 'Val', 5, Counter({0: 3, 2: 2})),  # numbered as in training
        (config.test_dataloader, 'test', 1, Counter({1: 1})),
    ):
        fields = loader.dataset.to_dict()
        assert fields.pop('type') == 'TimmDataset' and fields['split'] == split
        dataset = TimmDataset(**fields)
        assert len(dataset) == images and dataset.metainfo['classes'] == ['a', 'b', 'c9', 'c10']
        assert Counter(int(dataset[index]['targets']) for index in range(images)) == labels
        assert dataset[0]['inputs'].shape == (1, 32, 32)
    assert config.model.base.in_chans == 1
    values = [np.asarray(Image.open(file).convert('L')) / 255 for file in Path('data/train').rglob('*.png')]
    assert config.model.base.mean == pytest.approx([np.mean(values)], abs=0.01)
    assert config.model.base.std == pytest.approx([np.std(values)], abs=0.01)


def test_list_is_used_with_its_splits_or_gets_some(photos):
    rows = [(f'{label}/{index}.png', label) for label, count in COUNTS.items() for index in range(0, count, 6)]
    rows = [(f'my photos/{path}', label) for path, label in rows]
    folder = photos.parent
    (folder / 'plain.csv').write_text('image,name\n' + ''.join(f'{path},{label}\n' for path, label in rows))
    config = load_config(
        str(
            write_first_config(
                str(folder / 'plain.csv'), 'plain.py', PAIR, 32, 7, path_column='image', label_column='name'
            )
        )
    )
    assert (config.train_cfg.max_epochs, config.param_scheduler[0].begin) == (7, 4)
    sets = [LabelFileDataset(**{**loader.dataset.to_dict(), 'transforms': []}) for loader in _loaders(config)]
    assert [len(dataset) for dataset in sets] == [len(rows) - 2, 2]
    assert sets[0].metainfo['classes'] == ['a', 'b', 'c9', 'c10']
    splits = ['training' if index % 2 else 'valid' for index in range(len(rows))]
    (folder / 'split.csv').write_text(
        'path,label,split\n'
        + ''.join(f'{path},{label},{split}\n' for (path, label), split in zip(rows, splits, strict=True))
    )
    config = load_config(str(write_first_config(str(folder / 'split.csv'), 'split.py', PAIR)))
    sets = [LabelFileDataset(**{**loader.dataset.to_dict(), 'transforms': []}) for loader in _loaders(config)]
    assert [len(dataset) for dataset in sets] == [splits.count('training'), splits.count('valid')]
    assert not Path('split_split.csv').exists()


def _loaders(config):
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.pop('type')
        yield loader


@pytest.mark.parametrize(
    ('files', 'source', 'message'),
    [
        ([], 'nowhere', "'nowhere' does not exist"),
        (['x/a.txt'], 'x', "'x' has no images in class folders"),
        (['x/a/0.png'], 'x', "'x' has only the class 'a'|one a class"),
        (['x/a/0.png', 'x/b/0.png'], 'x', 'has 2 images, one a class'),
        (['x/val/a/0.png', 'x/test/a/0.png'], 'x', 'none for training'),
        (['x/train/a/0.png', 'x/train/b/0.png', 'x/val/z/0.png'], 'x', "'x/val' has classes that 'x/train' lacks: 'z'"),
    ],
)
def test_what_has_no_images_with_classes_is_refused(files, source, message):
    for file in files:
        if file.endswith('.txt'):
            Path(file).parent.mkdir(parents=True)
            Path(file).write_text('')
        else:
            draw(Path(file), size=(8, 8))
    with pytest.raises(ConfigError, match=message):
        find_data(source, 'split.csv')


@pytest.mark.parametrize(
    ('name', 'text', 'what'),
    [
        ('joined.csv', 'path,label\n0.png,a\n1.png,a;b\n2.png,\n', "several labels an image, such as 'a;b'"),
        ('bars.csv', 'path,label\n0.png,a\n1.png,a|b\n2.png,b\n', r"several labels an image, such as 'a\|b'"),
        (
            'lists.jsonl',
            '{"path": "0.png", "label": ["a"]}\n{"path": "1.png", "label": ["a", "b"]}\n{"path": "2.png", "label": []}\n',
            r"several labels an image, such as \['a', 'b'\]",
        ),
        ('flags.csv', 'path,a,10\n0.png,1,0\n1.png,1,1\n2.png,0,0\n', r"columns of 0 and 1 for classes \('a', '10'\)"),
        ('empty.csv', 'path,label\n0.png,a\n1.png,b\n2.png,\n', 'rows without a label, such as line 4'),
    ],
)
def test_every_form_of_several_labels_is_refused_with_the_page_that_has_them(name, text, what):
    Path(name).write_text(text)
    with pytest.raises(
        ConfigError, match=f"^'{name}' has {what}.*; init writes configs for one label an image: docs/dat"
    ):
        find_data(name, 'split.csv')
    section = (Path(__file__).parents[2] / 'docs/data.md').read_text()
    assert '### Several labels an image' in section


def test_column_that_a_list_lacks_is_named_as_the_option():
    Path('names.csv').write_text('path,name\n0.png,a|b\n')
    with pytest.raises(ConfigError, match=r"^--label-column is 'label', and 'names\.csv' has no such column; .*name"):
        find_data('names.csv', 'split.csv')


def test_pair_that_does_not_fit_and_unreadable_images_are_named(photos, tmp_path, capsys):
    with pytest.raises(ConfigError, match='--models cifar_resnet20 cifar_resnet8 make no pair for 32 px: '):
        write_first_config(str(photos), 'x.py', PAIR[::-1])
    assert not Path('x.py').exists()
    draw_classes('some', {'a': 4, 'b': 4}, size=(9, 9))
    Path('some/a/0.png').write_bytes(b'no image')
    config = load_config(str(write_first_config('some', models=PAIR)))
    assert config.train_dataloader.dataset.on_error == 'skip'
    assert "unreadable 1 of 6 images looked at, such as 'some/a/0.png'" in capsys.readouterr().out

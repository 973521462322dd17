"""The examples of docs/data.md."""

import re
from pathlib import Path

from PIL import Image

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.datasets import collate_images, labels_of
from motivation.registry import DATASETS
from tests.conftest import ROOT, train

PAGE = (ROOT / 'docs/data.md').read_text()

# Classes, labels of training and labels of validation of each example, in order.
EXPECTED = [
    (['cat', 'dog', 'fox'], [0, 1, 2], [0, 2]),
    (['cat', 'dog'], [0, 1], [0, 1]),
    (['cat', 'dog'], [0, 1], [1]),
    (['cat', 'dog', 'indoors'], [[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[0, 1, 1]]),
    (['cat', 'dog', 'indoors'], [[1, 0, 1], [0, 1, 0], [0, 0, 0]], None),
    (['cat', 'dog', 'fox'], [1, 0, 2, 0, 2, 0, 2, 0, 1], None),
    (['across', 'along'], [[1, 0], [0, 1], [1, 1]], None),
]


def write_images():
    folders = (
        'train/cat',
        'train/dog',
        'train/fox',
        'val/cat',
        'val/fox',
        'studio/train/dog',
        'phone/train/cat',
        'phone/train/fox',
    )
    for path in [*(f'{folder}/0.png' for folder in folders), *(f'images/000{number}.png' for number in range(1, 5))]:
        Path('data', path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8)).save(Path('data', path))
    Path('data/train.csv').write_text('path,label\n0001.png,cat\n0002.png,dog\n')
    Path('data/val.csv').write_text('path,label\n0004.png,dog\n')


def write_tables():
    for path, text in re.findall(r'`(data/\S+?)`:\n\n```(?:csv|json)\n(.*?)```', PAGE, flags=re.S):
        Path(path).write_text(text)


def test_config_for_several_labels_trains_both_models():
    write_images()
    write_tables()
    Path('several.py').write_text(PAGE.partition('`several.py`')[2].partition('```python\n')[2].partition('```')[0])
    names = {'model.base.model_name': 'cifar_resnet8', 'model.motivated.model_name': 'cifar_resnet20'}
    off = {'default_hooks.compute_meter': None, 'default_hooks.report.picture': False}
    off |= {'default_hooks.predictions.pictures': False, 'train_dataloader.batch_size': 3}
    config = load_config('several.py', {**names, **off, 'train_cfg.max_epochs': 1, 'param_scheduler': []})
    check_config(config)
    config.work_dir = 'run'
    runner = train(config)
    assert runner.model.base.outputs == runner.model.motivated.outputs == 'sigmoid'
    assert Path('run/predictions.csv').read_text().splitlines()[1].split(',')[2] == 'dog|indoors'


def test_every_example_gives_the_images_and_labels_that_the_page_says():
    write_images()
    write_tables()
    examples = re.findall(r'```python\n(.*?)```', PAGE, flags=re.S)
    for code, (classes, *labels) in zip(examples, EXPECTED, strict=True):
        config = {}
        exec(code, config)
        for stage, expected in zip(('train', 'val'), labels, strict=True):
            if expected is not None:
                dataset = DATASETS.build(config[f'{stage}_dataloader']['dataset'])
                assert dataset.metainfo['classes'] == classes
                assert labels_of(dataset).tolist() == expected
                batch = collate_images([dataset[index] for index in range(len(dataset))])
                assert batch['targets'].tolist() == expected

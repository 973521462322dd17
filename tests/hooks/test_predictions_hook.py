"""What a run and a test write about single images is what validation scored."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from motivation.cli import prepare_test
from motivation.engine.runner import DualModelRunner
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import train
from tests.several_labels import several_labels
from tests.small import small_config

OPTIONS = {
    'model.ema.decay': 0.7,
    'train_dataloader.num_batch_per_epoch': 2,
    'default_hooks.predictions.pictures': True,
}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    return Path(train(small_config(tmp_path_factory.mktemp('said') / 'run', 2, **OPTIONS)).work_dir)


def read(folder):
    return list(csv.DictReader((folder / 'predictions.csv').open()))


def test_predictions_are_those_that_validation_scored(finished):
    rows, report = read(finished), json.loads((finished / 'report.json').read_text())
    assert len(rows) == 40 and rows[0]['image'] == f'image {rows[0]["index"]}'
    for column, model, metric in (
        ('base', 'base', 'accuracy/top1'),
        ('motivated_ema', 'motivated', 'ema/accuracy/top1'),
    ):
        right = sum(int(row[f'{column}_right']) for row in rows)
        assert 100 * right / 40 == report[model]['metrics'][metric]
        assert right == sum(row[column] == row['target'] for row in rows)
    assert sum(row['images'] for row in report['classes']) == 40
    assert '## Single classes (percent right)' in (finished / 'report.md').read_text()


def test_line_at_the_end_names_what_was_written(tmp_path, capsys):
    options = {'train_dataloader.num_batch_per_epoch': 2, 'default_hooks.predictions.pictures': True}
    folder = Path(train(small_config(tmp_path / 'run', 1, **options)).work_dir)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('written: ')]
    names = line.removeprefix('written: ').partition(' in ')[0].split(', ')
    expected = {path.name for path in folder.glob('*.*') if path.is_file() and path.suffix in ('.csv', '.png', '.md')}
    assert names[:2] == ['report.json', 'report.md'] and expected <= {*names} and len({*names}) == len(names)
    assert 'predictions.csv' in names and all((folder / name).is_file() for name in names)


def test_disagreements_are_drawn_only_where_there_are_some(finished, tmp_path):
    """The motivated model says the same as the base model, in a folder with a picture of before, and then another."""
    checkpoint = find_checkpoints(finished)[-1]
    (tmp_path / checkpoint.name).write_bytes(checkpoint.read_bytes())
    (tmp_path / 'test').mkdir()
    picture = tmp_path / 'test/disagreements.png'
    picture.write_bytes(b'of before')
    config = prepare_test(str(finished / 'resnet8_resnet20_consecutive.py'), str(tmp_path / checkpoint.name))
    runner = DualModelRunner.from_cfg(config)
    val_step = runner.model.val_step
    for sign in (1, -1):

        def said_of(*args, sign=sign, **kwargs):
            said = val_step(*args, **kwargs)
            return {**said, 'motivated': [{**one, 'logits': sign * one['logits']} for one in said['base']]}

        runner.model.val_step = said_of
        runner.test()
        assert Image.open(tmp_path / 'test/confusions.png').width > 300
        assert picture.exists() == (sign == -1)
    assert Image.open(picture).width > 300


def test_run_resumed_after_its_last_validation_writes_the_same(finished, tmp_path):
    (tmp_path / 'run').mkdir()
    checkpoint = find_checkpoints(finished)[-1]
    (tmp_path / 'run' / checkpoint.name).write_bytes(checkpoint.read_bytes())
    config = small_config(tmp_path / 'run', 2, **{**OPTIONS, 'default_hooks.predictions.pictures': False})
    config.resume, config.load_from = True, str(tmp_path / 'run' / checkpoint.name)
    train(config)
    assert (tmp_path / 'run/predictions.csv').read_bytes() == (finished / 'predictions.csv').read_bytes()


def test_test_writes_the_predictions_of_its_images(finished):
    checkpoint = find_checkpoints(finished)[-1]
    options = {'test_dataloader.num_batch_per_epoch': 1, 'test_dataloader.batch_size': 40}
    config = prepare_test(str(finished / 'resnet8_resnet20_consecutive.py'), str(checkpoint), options=options)
    DualModelRunner.from_cfg(config).test()
    assert read(checkpoint.parent / 'test') == read(finished)


def test_models_without_logits_have_no_predictions_and_the_run_goes_on(finished, tmp_path, monkeypatch):
    config = small_config(tmp_path / 'run', 1, **{'train_dataloader.num_batch_per_epoch': 1})
    config.val_evaluator = []
    runner = DualModelRunner.from_cfg(config)
    val_step = runner.model.val_step
    monkeypatch.setattr(
        runner.model, 'val_step', lambda *args, **kwargs: {name: [{}] for name in val_step(*args, **kwargs)}
    )
    runner.train()
    assert not (tmp_path / 'run/predictions.csv').exists() and (tmp_path / 'run/report.json').exists()


def test_run_with_several_labels_scores_and_names_them(tmp_path):
    """Its items know no index and no name, as those of a data set of one's own."""
    options = several_labels(stages=('train', 'val'))
    options['val_evaluator'] = [dict(type='TorchMetric', metric='F1Score', average='none')]
    folder = Path(train(small_config(tmp_path / 'run', 1, **options)).work_dir)
    rows, report = read(folder), json.loads((folder / 'report.json').read_text())
    assert [row['image'] for row in rows] == [f'image {place}' for place in range(40)] and rows[0]['index'] == ''
    for result in report['classes']:
        said = [[result['class'] in row[column].split('|') for column in ('target', 'base')] for row in rows]
        hits, wrong = said.count([True, True]), said.count([True, False]) + said.count([False, True])
        assert result['base'] == pytest.approx(100 * 2 * hits / (2 * hits + wrong))
        assert result['base'] == pytest.approx(report['base']['metrics'][f'f1/class/{result["class"]}'], rel=1e-5)
    assert report['confusions'] == {'base': [], 'motivated': []}

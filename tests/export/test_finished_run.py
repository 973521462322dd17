"""What is exported and measured is read from the folder of a run, without a runner."""

import shutil

import pytest
import torch

from motivation.datasets import DigitsDataset
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.export.finished_run import FinishedRun


def images_of(run, **kwargs):
    batches = list(run.validation(**kwargs))
    return torch.cat([batch['inputs'] for batch in batches]), torch.cat([batch['targets'] for batch in batches])


def test_validation_images_are_those_of_the_run_in_order_and_give_its_scores(finished):
    run = FinishedRun.open(finished)
    images, targets = images_of(run)
    source = DigitsDataset('test').source
    chosen = [number * 360 // 120 for number in range(120)]
    assert torch.equal(images, 255 - source.images[chosen]) and targets.tolist() == [source.targets[i] for i in chosen]
    assert run.count_validation() == 120 and run.batch_size == 40
    model = load_exported(run.models['motivated'])
    with torch.no_grad():
        logits = model(model.data_preprocessor({'inputs': images})['inputs'])
    accuracy = 100 * (logits.argmax(1) == targets).double().mean().item()
    assert run.report['motivated']['metrics']['accuracy/top1'] == pytest.approx(accuracy)


def test_some_images_are_spread_over_the_validation_and_the_training_data(finished):
    run = FinishedRun.open(finished)
    images, _ = images_of(run, count=50)
    places = [number * 120 // 50 * 360 // 120 for number in range(50)]
    assert torch.equal(images, 255 - DigitsDataset('test').source.images[places])
    places = [number * 1437 // 100 for number in range(100)]
    assert torch.equal(run.training_images(100), 255 - DigitsDataset('train').source.images[places])
    assert run.training_images(10**6).shape[0] == 1437


def test_models_are_those_in_the_folder_or_the_one_named(finished):
    assert list(FinishedRun.open(finished).models) == [
        f'{best}{name}{ema}' for best in ('', 'best_') for ema in ('', '_ema') for name in ('base', 'motivated')
    ]
    assert FinishedRun.open(finished / 'best_base.pth').models == {'best_base': finished / 'best_base.pth'}


def test_what_is_no_run_is_named_in_one_sentence(finished, tmp_path):
    copy = tmp_path / 'run'
    for path, problem in (
        ('nowhere', "'nowhere' does not exist; give the work_dir of a run"),
        (finished / 'epoch_1.pth', "epoch_1.pth' is not an exported model"),
        (finished / 'report.json', "report.json' is not an exported model"),
        (copy, 'has no base.pth or motivated.pth, which a run writes at its end'),
    ):
        copy.mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=problem.replace('.', r'\.')):
            FinishedRun.open(path)
    shutil.copy(finished / 'base.pth', copy)
    with pytest.raises(ConfigError, match=r'has no <config>\.py'):
        FinishedRun.open(copy)
    shutil.copy(next(finished.glob('*.py')), copy)
    assert FinishedRun.open(copy).report is None
    (copy / 'report.json').write_text('{"policy": ')
    with pytest.raises(ConfigError, match=r"report\.json' is damaged"):
        FinishedRun.open(copy)


def test_data_that_are_gone_are_named_with_the_field_and_may_be_given_anew(finished):
    gone = {'val_dataloader.dataset.type': 'TimmDataset', 'val_dataloader.dataset.root': 'gone'}
    with pytest.raises(ConfigError, match=r"^val_dataloader\.dataset\.root 'gone' does not exist; "):
        list(FinishedRun.open(finished, gone).validation())
    with pytest.raises(ConfigError, match='has no val_dataloader in its config'):
        list(FinishedRun.open(finished, dict.fromkeys(('val_dataloader', 'test_dataloader'))).validation())

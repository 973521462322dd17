import dataclasses
import hashlib
import json
import shutil

import pytest
import torch

from motivation.compute.forward_macs import count_forward
from motivation.errors import ConfigError
from motivation.evaluation.cascade import halves
from motivation.evaluation.confidence import confidence
from motivation.export.cascade import Cascade
from motivation.export.cascade_study import study_cascade, time_cascade
from motivation.export.exported_model import load_exported
from motivation.export.finished_run import FinishedRun
from motivation.report.cascade_files import write_cascade
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import read_checkpoint, write_checkpoint
from tests.conftest import train
from tests.small import small_config
from tests.tools.call import call_here


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'digits'
    train(small_config(path, **{'motivation.policy.drops': 1, 'val_dataloader.batch_size': 81}))
    return path


@pytest.fixture(scope='module')
def studied(folder):
    return study_cascade(FinishedRun.open(folder), seed=1, timed_images=6)


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / 'run')


def validation(folder):
    batches = list(FinishedRun.open(folder).validation())
    return tuple(torch.cat([batch[name] for batch in batches]) for name in ('inputs', 'targets'))


def test_both_models_are_judged_on_the_second_half_and_their_macs_are_counted(folder, studied):
    result, _, about = studied
    images, targets = validation(folder)
    second = halves(targets.numpy(), 1)[1]
    assert (result.chosen_on, result.images) == (41, 40)
    for name in MODEL_NAMES:
        model = load_exported(folder / f'{name}.pth')
        inputs = model.data_preprocessor({'inputs': images})['inputs']
        with torch.no_grad():
            right = (model(inputs).argmax(dim=1) == targets)[second]
        assert result.alone[name].value == pytest.approx(100 * right.float().mean().item())
        assert result.macs[name] == count_forward(model.backbone, inputs[:1]).total
    assert (about['base'], about['motivated']) == ('cifar_resnet8', 'cifar_resnet8')


def test_loaded_cascade_does_what_was_reported(folder, studied, copied):
    result, latency, about = studied
    write_cascade(copied, result, latency, about)
    images, targets = validation(folder)
    second = halves(targets.numpy(), 1)[1]
    for at in ('equal_accuracy', 'best_accuracy'):
        cascade = Cascade.load(copied, at)
        logits, by_motivated = cascade(images[second])
        assert cascade.channels == images.shape[1]
        point = getattr(result, at)
        assert by_motivated.float().mean().item() == pytest.approx(point.passed_on.value)
        right = logits.argmax(dim=1) == targets[second]
        assert 100 * right.float().mean().item() == pytest.approx(point.accuracy.value)


def test_thresholds_of_other_weights_are_refused(studied, copied):
    write_cascade(copied / 'two', *studied)
    thresholds = copied / 'two/cascade.json'
    digests = {name: hashlib.sha256((copied / f'{name}.pth').read_bytes()).hexdigest() for name in MODEL_NAMES}
    assert json.loads(thresholds.read_text())['made_from'] == digests
    assert Cascade.load(copied, thresholds=thresholds).threshold == studied[0].equal_accuracy.threshold
    exported = read_checkpoint(copied / 'motivated.pth')
    next(iter(exported['state_dict'].values())).add_(1)
    write_checkpoint(exported, copied / 'motivated.pth')
    with pytest.raises(
        ConfigError,
        match=r"two/cascade\.json' was made from other weights than those of '.*motivated\.pth'; .* --out .*two --overwrite'$",
    ):
        Cascade.load(copied, thresholds=thresholds)


def test_timed_images_are_passed_on_as_often_as_all(folder, studied):
    result, latency, _ = studied
    assert latency.images == 6 and min(latency.base, latency.motivated, latency.cascade) > 0
    model = load_exported(folder / 'base.pth')
    with torch.no_grad():
        sure = confidence(model(model.data_preprocessor({'inputs': validation(folder)[0]})['inputs']))
    share = (sure < result.equal_accuracy.threshold).float().mean().item()
    assert latency.passed_on == pytest.approx(share, abs=1 / 6)


def test_timing_leaves_the_number_of_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        latency = time_cascade(Cascade(linear, linear, 2.0), torch.randn(4, 1, 2, 2), repeats=2)
        assert torch.get_num_threads() == 2 and latency.passed_on == 1.0
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize('with_report', [True, False])
def test_model_that_was_never_trained_is_refused(copied, with_report):
    run = FinishedRun.open(copied, {'motivation.policy': {'_delete_': True, 'type': 'Never'}})
    run.report['motivated']['iters'] = 0
    run = run if with_report else dataclasses.replace(run, report=None)
    with pytest.raises(
        ConfigError, match=r"the motivated model of '.*' was never trained; give a run that trained both"
    ):
        study_cascade(run)


def test_models_of_different_classes_are_refused(copied):
    exported = read_checkpoint(copied / 'motivated.pth')
    exported['metainfo']['classes'] = exported['metainfo']['classes'][::-1]
    write_checkpoint(exported, copied / 'motivated.pth')
    with pytest.raises(ConfigError, match='are of different classes; give two models of one run'):
        study_cascade(FinishedRun.open(copied))


def test_lost_model_is_named(copied):
    (copied / 'base.pth').unlink()
    with pytest.raises(ConfigError, match=r'has no base\.pth; give the work_dir of a finished run'):
        study_cascade(FinishedRun.open(copied))


def test_tool_writes_its_three_files_and_keeps_those_that_are_there(copied):
    option = 'val_dataloader.num_workers=0'
    done = call_here('cascade.py', copied, '--confidence', 'margin', '--out', copied / 'two', '--cfg-options', option)
    assert (done.returncode, done.stderr) == (0, '')
    content = json.loads((copied / 'two/cascade.json').read_text())
    assert content['options'] == {'val_dataloader.num_workers': 0}
    assert f'Run: {copied} with `{option}`. Time:' in (copied / 'two/cascade.md').read_text()
    assert content['measure'] == 'margin' and content['latency']['images'] == 81
    passed = f'{content["equal_accuracy"]["passed_on"]["value"]:.1%}'
    for text in (done.stdout, (copied / 'two/cascade.md').read_text()):
        assert f'the cascade passes on {passed} of the images' in text
    assert (copied / 'two/cascade.png').read_bytes().startswith(b'\x89PNG')
    before = (copied / 'two/cascade.json').read_bytes()
    again = call_here('cascade.py', copied, '--out', copied / 'two')
    assert (
        again.returncode == 2
        and 'already holds cascade.json, cascade.md, cascade.png; name another --out' in again.stderr
    )
    assert (copied / 'two/cascade.json').read_bytes() == before
    assert call_here('cascade.py', copied, '--out', copied / 'base.pth').returncode == 2


def test_run_without_validation_data_is_one_sentence(copied):
    config = next(copied.glob('*.py'))
    parts = [f'{stage}_{part}' for stage in ('val', 'test') for part in ('dataloader', 'cfg', 'evaluator')]
    lines = ''.join(f'\n{part} = None' for part in parts)
    config.write_text(config.read_text() + lines)
    done = call_here('cascade.py', copied)
    assert done.returncode == 2 and done.stderr.startswith('error: ') and 'no val_dataloader' in done.stderr
    assert done.stderr.count('\n') == 1 and not (copied / 'cascade.json').exists()

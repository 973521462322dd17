import json
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.hooks.report_hook import read_recorded_run
from tests.conftest import DIGITS, train
from tests.small import small_config


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    runner = DualModelRunner.from_cfg(small_config(tmp_path_factory.mktemp('report') / 'run', 2))
    runner.register_hook(Adds())
    runner.train()
    return runner


class Adds(Hook):
    """Adds to the report of the run and of a model, and reads a value."""

    def on_report(self, runner, report):
        report['own'] = report['seed'] + 1
        report['base']['own'] = 'base'


def test_hook_adds_to_the_report(finished):
    report = json.loads((Path(finished.work_dir) / 'report.json').read_text())
    assert (report['own'], report['base']['own']) == (1, 'base') and 'own' not in report['motivated']


def test_batches_of_each_model_are_those_of_the_trace(finished):
    report = json.loads((Path(finished.work_dir) / 'report.json').read_text())
    motivated = sum(finished.find_hook(MotivationHook).trace.motivated)
    assert (report['base']['iters'], report['motivated']['iters']) == (12 - motivated, motivated)


def test_recorded_run_is_read_from_its_report_or_its_newest_checkpoint(finished, tmp_path):
    work_dir, trace = Path(finished.work_dir), finished.find_hook(MotivationHook).trace
    whole = read_recorded_run(work_dir)
    assert whole.trace.losses == trace.losses and [row.iter for row in whole.history] == [6, 12]
    assert whole.about == 'ConsecutiveDrop(drops=2), seed 0'
    for name in ('switches.npz', 'epoch_2.pth'):
        (tmp_path / name).write_bytes((work_dir / name).read_bytes())
    running = read_recorded_run(tmp_path)
    assert running.history == whole.history and running.about is None
    (tmp_path / 'epoch_2.pth').unlink()
    assert read_recorded_run(tmp_path / 'switches.npz').history == []


def test_run_without_a_trace_raises_one_sentence():
    with pytest.raises(ConfigError, match=r'has no switches\.npz'):
        read_recorded_run(Path('nowhere'))


INSTRUMENTS = [
    'iteration_seed',
    'bad_data',
    'compute_meter',
    'checkpoint',
    'export',
    'predictions',
    'progress',
    'report',
    'logger',
]


def test_every_default_hook_is_named_here():
    assert set(load_config(DIGITS, {}).default_hooks) == set(INSTRUMENTS)


@pytest.mark.parametrize('without', INSTRUMENTS)
def test_run_trains_without_any_one_of_the_default_hooks(tmp_path, finished, without):
    runner = train(small_config(tmp_path / 'run', **{f'default_hooks.{without}': None}))
    losses = finished.find_hook(MotivationHook).trace.losses[:6]
    assert runner.find_hook(MotivationHook).trace.losses == losses or without == 'iteration_seed'
    assert (tmp_path / 'run/report.md').exists() == (without != 'report')


def test_run_without_the_field_of_the_hooks_trains(tmp_path):
    config = small_config(tmp_path / 'run')
    config.default_hooks = None
    assert train(config).iter == 6
    assert not list((tmp_path / 'run').glob('epoch_*'))


def test_run_trains_and_resumes_without_any_default_hook(tmp_path):
    options = {f'default_hooks.{name}': None for name in INSTRUMENTS if name != 'checkpoint'}
    assert train(small_config(tmp_path / 'run', **options)).iter == 6
    config = small_config(tmp_path / 'run', 2, **options)
    config.resume = config.allow_changes = True
    assert len(train(config).find_hook(MotivationHook).trace) == 12

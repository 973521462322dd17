"""A run that is stopped at any point and resumed equals an uninterrupted one."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motivation.engine.runner import DualModelRunner
from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from motivation.utils.interruption import Interrupted
from tests.conftest import digits_config

# Three epochs of six batches, validated; dropout and stochastic depth draw random numbers, as does augmentation.
RANDOM = {'model.base.drop_path_rate': 0.2, 'model.motivated.drop_path_rate': 0.2, 'model.motivated.drop_rate': 0.1}


def config(folder, resume=False, every_iters=1, epochs=3, **options):
    options = {'default_hooks.checkpoint.every_iters': every_iters, **RANDOM, **options}
    built = digits_config(folder, epochs, **options)
    if resume:
        built.resume, built.load_from = True, str(find_checkpoints(folder)[-1])
    return built


class At(Hook):
    """Calls an action once, at a hook point of a batch."""

    priority = 'LOWEST'

    def __init__(self, point, batch, action):
        self.batch, self.action, self.done = batch, action, False
        setattr(self, point, self.act)

    def act(self, runner, batch_idx=0, **_):
        if not self.done and runner.iter == self.batch:
            self.done = True
            self.action()


def train(built, *hooks):
    runner = DualModelRunner.from_cfg(built)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def outcome(runner):
    """Return all results of a run except times."""
    report = json.loads((Path(runner.work_dir) / 'report.json').read_text())
    report.pop('wall_seconds')
    for name in ('base', 'motivated'):
        for field in ('seconds', 'images_per_second', 'flops_per_second'):
            report[name].pop(field, None)
    trace = runner.find_hook(MotivationHook).trace
    last = read_checkpoint(Path(runner.work_dir) / 'epoch_3.pth')
    return report, list(trace.losses), list(trace.decisions), last['policy'], last['param_schedulers']


def assert_same(resumed, whole):
    assert outcome(resumed) == outcome(whole)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    for name in ('base', 'motivated'):
        ours, theirs = (run.optim_wrapper[name].optimizer.state_dict()['state'] for run in (resumed, whole))
        assert ours.keys() == theirs.keys() and all(
            torch.equal(value, theirs[index][key]) for index, entry in ours.items() for key, value in entry.items()
        )


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return train(config(tmp_path_factory.mktemp('whole') / 'run'))


class StopError(Exception):
    pass


def stop():
    raise StopError


@pytest.mark.parametrize(
    ('point', 'batch', 'resumed_from'),
    [
        ('before_train_iter', 1, 'epoch_0_iter_1.pth'),
        ('after_train_iter', 3, 'epoch_0_iter_3.pth'),  # of which nothing is kept
        ('after_train_epoch', 6, 'epoch_0_iter_6.pth'),
        ('before_val_epoch', 6, 'epoch_0_iter_6.pth'),
        ('after_val_epoch', 12, 'epoch_1_iter_12.pth'),
        ('before_train_epoch', 12, 'epoch_2.pth'),
        ('between_iters', 17, 'epoch_2_iter_17.pth'),
        ('after_train', 18, 'epoch_3.pth'),
    ],
)
def test_run_stopped_at_any_point_resumes_from_the_last_batch(tmp_path, whole, point, batch, resumed_from):
    with pytest.raises(StopError):
        train(config(tmp_path), At(point, batch, stop))
    assert find_checkpoints(tmp_path)[-1].name == resumed_from
    assert_same(train(config(tmp_path, resume=True)), whole)


@pytest.mark.parametrize(
    'options',
    [
        {'train_dataloader.num_workers': 2},
        {'train_dataloader.num_workers': 1, 'train_dataloader.persistent_workers': True},
    ],
)
def test_workers_change_nothing_and_resume_within_an_epoch(tmp_path, whole, options):
    with pytest.raises(StopError):
        train(config(tmp_path, **options), At('before_train_iter', 9, stop))
    assert_same(train(config(tmp_path, resume=True)), whole)  # now without


@pytest.mark.parametrize(
    'options',
    [
        {
            'motivation.policy': dict(
                _delete_=True,
                type='Any',
                policies=[dict(type='GradientNorm', above=1.2, relative=0.5), dict(type='RandomGate', rate=0.3)],
            )
        },
        {
            'meter': True,
            'optim_wrapper.clip_grad': dict(max_norm=1.0),
            'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3),
            'model.optimizer_state': 'transfer',
            'model.distillation': dict(weight=0.5),
            'model.recalibrate': 64,
        },
    ],
    ids=['random-and-gradient', 'clipped-adamw-distillation-recalibration'],
)
def test_further_configs_resume_within_an_epoch(tmp_path, options):
    whole = train(config(tmp_path / 'whole', **options))
    with pytest.raises(StopError):
        train(config(tmp_path / 'run', **options), At('before_train_iter', 10, stop))
    assert_same(train(config(tmp_path / 'run', resume=True, **options)), whole)


def test_every_step_is_logged_once(tmp_path):
    """The run is stopped twice after unsaved steps, the second time in the middle of a line."""
    for resume, batch in ((False, 5), (True, 11)):
        with pytest.raises(StopError):
            train(config(tmp_path, resume, every_iters=4), At('before_train_iter', batch, stop))
    (logs,) = tmp_path.glob('*/vis_data')
    for path in logs.glob('*.json'):
        with path.open('a') as file:
            file.write('{"loss": 1.2')
    train(config(tmp_path, resume=True, every_iters=4))
    (logs,) = tmp_path.glob('*/vis_data')
    for path in logs.glob('*.json'):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line['step'] for line in lines if 'loss' in line] == list(range(1, 19))
        assert [line['step'] for line in lines if 'base/accuracy/top1' in line] == [6, 12, 18]
    events = EventAccumulator(str(logs)).Reload()
    assert [event.step for event in events.Scalars('loss')] == list(range(1, 19))
    assert [event.step for event in events.Scalars('base/accuracy/top1')] == [6, 12, 18]


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ('number', 'point', 'batch', 'saved', 'status'),
    [
        (signal.SIGTERM, 'before_train_iter', 8, 'epoch_1_iter_9.pth', 143),
        (signal.SIGINT, 'after_train_iter', 11, 'epoch_1_iter_12.pth', 130),
        (signal.SIGUSR1, 'before_val_iter', 12, 'epoch_1_iter_12.pth', 0),
        (signal.SIGTERM, 'after_val_epoch', 6, 'epoch_1.pth', 143),
    ],
)
def test_signal_finishes_the_batch_saves_and_stops(tmp_path, whole, capsys, number, point, batch, saved, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as ended:
        train(config(tmp_path, every_iters=None), At(point, batch, send(number)))
    assert ended.value.code == status and signal.getsignal(number) is before
    assert find_checkpoints(tmp_path)[-1].name == saved
    assert f"saved '{saved}' in '{tmp_path}'; continue with --resume" in capsys.readouterr().out
    assert_same(train(config(tmp_path, resume=True, every_iters=None)), whole)


def test_signal_within_a_validation_restores_the_training_weights(tmp_path):
    averaged = {'model.ema.decay': 0.9}
    whole = train(config(tmp_path / 'whole', every_iters=None, **averaged))
    with pytest.raises(Interrupted):
        train(config(tmp_path / 'run', every_iters=None, **averaged), At('before_val_iter', 6, send(signal.SIGTERM)))
    assert_same(train(config(tmp_path / 'run', resume=True, every_iters=None, **averaged)), whole)


def test_second_ctrl_c_stops_at_once(tmp_path, capfd):
    twice = At('before_train_iter', 3, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, every_iters=None), twice)
    assert find_checkpoints(tmp_path) == []
    assert 'SIGINT: finishing this batch, then saving; Ctrl-C again stops at once' in capfd.readouterr().err


def kill_a_worker():
    children = [int(pid) for pid in Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()]
    workers = [pid for pid in children if b'resource_tracker' not in Path(f'/proc/{pid}/cmdline').read_bytes()]
    os.kill(workers[-1], signal.SIGKILL)  # those of the epoch before may still be ending


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='finds the workers in /proc')
@pytest.mark.parametrize('persistent', [False, True])
def test_dead_worker_is_replaced_and_nothing_is_lost(tmp_path, whole, capsys, persistent):
    options = {'num_workers': 2, 'prefetch_factor': 1, 'persistent_workers': persistent}
    options = {f'train_dataloader.{field}': value for field, value in options.items()}
    runner = train(config(tmp_path, **options), At('before_train_iter', 6, kill_a_worker))
    assert_same(runner, whole)
    assert 'a data-loading worker died' in capsys.readouterr().out


def test_failed_save_is_not_reported_as_saved(tmp_path, monkeypatch, capsys):
    """The disk becomes full between an earlier save and the interruption."""
    runner = DualModelRunner.from_cfg(config(tmp_path, every_iters=4))

    def fill_and_interrupt():
        def full(*_, **__):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(runner, 'save_checkpoint', full)
        os.kill(os.getpid(), signal.SIGTERM)

    runner.register_hook(At('after_train_iter', 5, fill_and_interrupt))
    with pytest.raises(Interrupted):
        runner.train()
    said = capsys.readouterr().out
    assert "epoch_0_iter_6.pth' cannot be written" in said or "epoch_1.pth' cannot be written" in said
    assert 'continue with --resume' not in said

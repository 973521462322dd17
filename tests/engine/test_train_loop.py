"""A run that is stopped at any point and resumed equals an uninterrupted one."""

import json
import os
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from motivation.engine.runner import DualModelRunner
from motivation.utils.checkpoint import find_checkpoints
from motivation.utils.interruption import Interrupted
from tests.engine.stopped_runs import At, StopError, assert_same, config, copying, stop, train

# The place where a run stops, and the checkpoint that is the newest then.
POINTS = [
    ('before_train_iter', 1, 'epoch_0_iter_1.pth'),
    ('after_train_iter', 3, 'epoch_0_iter_3.pth'),  # of which nothing is kept
    ('after_train_epoch', 6, 'epoch_0_iter_6.pth'),
    ('before_val_epoch', 6, 'epoch_0_iter_6.pth'),
    ('after_val_epoch', 12, 'epoch_1_iter_12.pth'),
    ('before_train_epoch', 12, 'epoch_2.pth'),
    ('between_iters', 17, 'epoch_2_iter_17.pth'),
    ('after_train', 18, 'epoch_3.pth'),
]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted run, with a copy of its work_dir at each of the points beside it."""
    folder = tmp_path_factory.mktemp('whole')
    copies = [At(point, batch, copying(folder / 'run', folder / point)) for point, batch, _ in POINTS]
    return train(config(folder / 'run'), *copies)


@pytest.mark.parametrize(('point', 'batch', 'resumed_from'), POINTS)
def test_run_stopped_at_any_point_resumes_from_the_last_batch(whole, point, batch, resumed_from):
    folder = Path(whole.work_dir).with_name(point)
    assert find_checkpoints(folder)[-1].name == resumed_from
    assert_same(train(config(folder, resume=True)), whole)


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
    assert f"saved '{tmp_path / saved}'; continue with --resume" in capsys.readouterr().out
    assert_same(train(config(tmp_path, resume=True, every_iters=None)), whole)


def kill_a_worker():
    children = [int(pid) for pid in Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()]
    workers = [pid for pid in children if b'resource_tracker' not in Path(f'/proc/{pid}/cmdline').read_bytes()]
    os.kill(workers[-1], signal.SIGKILL)  # those of the epoch before may still be ending


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='finds the workers in /proc')
@pytest.mark.parametrize('persistent', [False, True])
def test_dead_worker_is_replaced_and_nothing_is_lost(tmp_path, whole, monkeypatch, capsys, persistent):
    # Torch asks after its workers when no batch has come for five seconds, and waits as long for one to end.
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, '__defaults__', (0.2,))
    monkeypatch.setattr('torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL', 0.2)
    options = {'num_workers': 2, 'prefetch_factor': 1, 'persistent_workers': persistent}
    options = {f'train_dataloader.{field}': value for field, value in options.items()}
    runner = train(config(tmp_path, **options), At('before_train_iter', 6, kill_a_worker))
    assert_same(runner, whole)
    assert 'a data-loading worker died' in capsys.readouterr().out


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

"""A run that is stopped anywhere and resumed is the run that was not; a loss that is no number does no harm."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError, TrainingError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from motivation.utils.interruption import Interrupted
from tests.conftest import digits_config, snapshot

# Three epochs of six batches, validated; dropout and stochastic depth draw random numbers, as does augmentation.
RANDOM = {'model.base.drop_path_rate': 0.2, 'model.motivated.drop_path_rate': 0.2, 'model.motivated.drop_rate': 0.1}


def config(folder, resume=False, every_iters=1, epochs=3, **options):
    options = {'default_hooks.checkpoint.every_iters': every_iters, **RANDOM, **options}
    built = digits_config(folder, epochs, **options)
    if resume:
        built.resume, built.load_from = True, str(find_checkpoints(folder)[-1])
    return built


class At(Hook):
    """Does something once, at a hook point of a batch."""

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
    """Everything that a run leaves, but for the time it took."""
    report = json.loads((Path(runner.work_dir) / 'report.json').read_text())
    report.pop('wall_seconds')
    for name in ('base', 'motivated'):
        for field in ('seconds', 'images_per_second', 'flops_per_second'):
            report[name].pop(field, None)
    trace = runner.find_hook(MotivationHook).trace
    last = read_checkpoint(Path(runner.work_dir) / 'epoch_3.pth')
    return report, list(trace.losses), list(trace.decisions), last['motivation']['policy'], last['param_schedulers']


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
def test_run_stopped_at_any_point_goes_on_from_the_batch_before(tmp_path, whole, point, batch, resumed_from):
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
def test_other_runs_go_on_within_an_epoch_too(tmp_path, options):
    whole = train(config(tmp_path / 'whole', **options))
    with pytest.raises(StopError):
        train(config(tmp_path / 'run', **options), At('before_train_iter', 10, stop))
    assert_same(train(config(tmp_path / 'run', resume=True, **options)), whole)


def test_every_step_is_logged_once(tmp_path):
    """Stopped twice, after steps that no checkpoint had yet; the second time in the middle of a line."""
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
def test_signal_finishes_the_batch_saves_and_ends(tmp_path, whole, capsys, number, point, batch, saved, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as ended:
        train(config(tmp_path, every_iters=None), At(point, batch, send(number)))
    assert ended.value.code == status and signal.getsignal(number) is before
    assert find_checkpoints(tmp_path)[-1].name == saved
    assert f"saved '{saved}' in '{tmp_path}'; continue with --resume" in capsys.readouterr().out
    assert_same(train(config(tmp_path, resume=True, every_iters=None)), whole)


def test_signal_within_a_validation_puts_averaged_weights_back(tmp_path):
    averaged = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]}
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


class SpoilLoss(Hook):
    """Makes the loss of some batches of a model no number, as a module of the model computes it."""

    def __init__(self, model, batches, value=math.nan, below_rate=None):
        self.model, self.batches, self.value, self.below_rate = model, batches, value, below_rate

    def before_train(self, runner):
        getattr(runner.model, self.model).loss.register_forward_hook(
            lambda module, inputs, loss: self.spoil(runner, loss)
        )

    def spoil(self, runner, loss):
        rate = runner.optim_wrapper[self.model].get_lr()['lr'][0]
        if runner.iter in self.batches and (self.below_rate is None or rate > self.below_rate):
            return loss * self.value
        return loss


ALWAYS = {'motivation.policy': dict(_delete_=True, type='Always')}


@pytest.mark.parametrize(('model', 'options'), [('base', {}), ('motivated', ALWAYS)])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_bad_loss_stops_and_saves_nothing_after_it(tmp_path, model, options, value):
    with pytest.raises(TrainingError) as stopped:
        train(config(tmp_path, **options), SpoilLoss(model, {8}, value))
    said = str(stopped.value)
    assert f'the loss of the {model} model is {value} at batch 3 of epoch 2 (iteration 9), learning rate 0.' in said
    assert 'last good losses' in said and "train_cfg.on_bad_loss='skip'" in said
    newest = find_checkpoints(tmp_path)[-1]
    assert newest.name == 'epoch_1_iter_8.pth'
    assert all(tensor.isfinite().all() for tensor in read_checkpoint(newest)['state_dict'].values())


@pytest.mark.parametrize(('model', 'options'), [('base', {}), ('motivated', ALWAYS)])
def test_bad_batch_is_skipped_and_counted_and_the_policy_is_not_told(tmp_path, capsys, model, options):
    seen, states = [], {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            states['before'] = snapshot(runner.model)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 8:
                states['skipped'] = states['before'], snapshot(runner.model)

    runner = DualModelRunner.from_cfg(config(tmp_path, meter=True, **{'train_cfg.on_bad_loss': 'skip'}, **options))
    policy = runner.find_hook(MotivationHook).policy
    update = policy.update
    policy.update = lambda loss, **signals: seen.append(loss) or update(loss, **signals)
    for hook in (SpoilLoss(model, {8, 10}), Look()):
        runner.register_hook(hook)
    runner.train()
    assert len(seen) == 16 and all(map(math.isfinite, seen))
    before, after = states['skipped']
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())  # statistics, too
    assert 'the batch is skipped' in capsys.readouterr().out
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['skipped_iters'] == 2
    meter, macs = runner.find_hook(ComputeMeterHook).meter, runner.find_hook(ComputeMeterHook).meter.macs[model]
    assert sum(work.iters for work in meter.trained.values()) == 16 and meter.skipped[model].images == 2 * 64
    assert meter.forward_flops(model) == macs.step.forward.flops(0, meter.trained[model].images + 2 * 64)
    assert meter.backward_flops(model) == macs.step.backward.flops(0, meter.trained[model].images)
    assert [math.isfinite(loss) for loss in runner.find_hook(MotivationHook).trace.losses].count(False) == 2


def test_skipping_ends_where_nothing_else_comes(tmp_path):
    with pytest.raises(TrainingError, match='for the 11th batch in a row: the weights are past saving'):
        train(config(tmp_path, **{'train_cfg.on_bad_loss': 'skip'}), SpoilLoss('base', range(3, 18)))


def test_rollback_returns_to_the_newest_checkpoint_with_half_the_rate(tmp_path, capsys):
    """The loss is bad at batch 9 until the learning rate is below a third of what it would be."""
    options = {'train_cfg.on_bad_loss': 'rollback', 'param_scheduler': [], **ALWAYS}
    spoil = SpoilLoss('motivated', {9}, below_rate=0.03)
    runner = train(config(tmp_path, every_iters=4, **{'optim_wrapper.optimizer.lr': 0.1}, **options), spoil)
    said = capsys.readouterr().out
    assert said.count("back to 'epoch_1_iter_8.pth', with 0.5 of the learning rate") == 2
    rates = {name: wrapper.get_lr()['lr'][0] for name, wrapper in runner.optim_wrapper.items()}
    assert rates == {'base': 0.025, 'motivated': 0.025}
    assert json.loads((tmp_path / 'report.json').read_text())['rollbacks'] == 2
    assert len(runner.find_hook(MotivationHook).trace) == 18  # every batch once
    (logs,) = tmp_path.glob('*/vis_data')
    lines = [json.loads(line) for line in (logs / 'scalars.json').read_text().splitlines()]
    assert [line['step'] for line in lines if 'loss' in line] == list(range(1, 19))
    curve = EventAccumulator(str(logs)).Reload().Scalars('loss')
    assert [event.step for event in curve] == list(range(1, 19))


@pytest.mark.parametrize(
    ('batches', 'every_iters', 'message'),
    [({2}, None, 'there is no checkpoint to go back to'), ({9}, 4, '5 rollbacks did not help')],
)
def test_rollback_that_cannot_help_stops(tmp_path, batches, every_iters, message):
    with pytest.raises(TrainingError, match=f'{message}: begin with a lower'):
        train(
            config(tmp_path, every_iters=every_iters, **{'train_cfg.on_bad_loss': 'rollback'}),
            SpoilLoss('base', batches),
            SpoilLoss('motivated', batches),
        )


class SpoilGradient(Hook):
    """Makes the gradient of one batch no number, once, of a loss that is one."""

    def __init__(self, batch):
        self.batch = batch

    def before_train(self, runner):
        weight = runner.model.base.backbone.fc.weight
        weight.register_hook(lambda gradient: gradient * (math.nan if self._is_due(runner) else 1))

    def _is_due(self, runner):
        due = runner.iter == self.batch
        self.batch = None if due else self.batch
        return due


@pytest.mark.parametrize(('batch', 'kept'), [(5, 'epoch_0_iter_4.pth'), (11, 'epoch_1_iter_8.pth'), (7, 'epoch_1.pth')])
def test_weights_that_are_no_numbers_are_never_saved(tmp_path, batch, kept):
    """At the end of an epoch, at the end of the run, and where a checkpoint within an epoch is due."""
    with pytest.raises(TrainingError) as stopped:
        train(config(tmp_path, every_iters=4, epochs=2), SpoilGradient(batch))
    said = str(stopped.value)
    assert (
        f'weights of the base model are NaN or infinite after a step on a gradient that was, by batch {batch % 6 + 1} of'
        in said
    )
    assert said.endswith("train_cfg.on_bad_loss='rollback'")
    for path in find_checkpoints(tmp_path):
        assert all(tensor.isfinite().all() for tensor in read_checkpoint(path)['state_dict'].values())
    assert find_checkpoints(tmp_path)[-1].name == kept
    assert not (tmp_path / 'base.pth').exists()


def test_rollback_undoes_a_step_that_spoilt_the_weights(tmp_path, capsys):
    options = {'train_cfg.on_bad_loss': 'rollback', 'param_scheduler': []}
    runner = train(config(tmp_path, every_iters=4, **options), SpoilGradient(17))
    assert "back to 'epoch_2_iter_16.pth', with 0.5 of the learning rate" in capsys.readouterr().out
    assert all(tensor.isfinite().all() for tensor in runner.model.state_dict().values())
    assert len(runner.find_hook(MotivationHook).trace) == 18


def test_failed_save_is_not_said_to_have_been_made(tmp_path, monkeypatch, capsys):
    """The interruption comes when the disk has become full after an earlier save."""
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


def test_refuses_an_unknown_remedy(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train_cfg\.on_bad_loss is 'ignore'; it must be 'stop' or 'skip' or 'rollback'"
    ):
        train(config(tmp_path, **{'train_cfg.on_bad_loss': 'ignore'}))

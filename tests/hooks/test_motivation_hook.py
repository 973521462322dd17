import math
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motivation.engine.checkpointer import Checkpointer
from motivation.errors import ConfigError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.policies import SwitchPolicy
from motivation.policies.switch_trace import SwitchTrace
from motivation.structures import StepRecord
from tests.conftest import small_dual_model, train
from tests.small import small_config


def after_batch(hook, runner, loss):
    """Call the hook as after a batch of the active model."""
    runner.last_step = StepRecord(
        runner.model.active,
        loss,
        images=4,
        finite=math.isfinite(loss),
        stepped=math.isfinite(loss),
        passes=1,
        seconds=1.0,
    )
    hook.after_train_iter(runner, 0)


def begin(hook):
    """Return a minimal stand-in for a runner."""
    runner = SimpleNamespace(
        model=small_dual_model(),
        seed=0,
        iter=0,
        epoch=0,
        optim_wrapper=None,
        trains=True,
        checkpointer=Checkpointer(),
    )
    runner.checkpointer.register_hook(hook)
    hook.before_run(runner)
    return runner


def run(losses, **policy):
    """Feed losses batch by batch; return the active model of each batch, and the hook."""
    hook = MotivationHook(policy)
    runner = begin(hook)
    hook.before_train(runner)
    active = []
    for loss in losses:
        active.append(runner.model.active)
        after_batch(hook, runner, loss)
    return active, hook, runner


def test_active_model_follows_the_policy():
    """The rule itself is tested in tests/test_method.py."""
    active, _, _ = run([5.0, 4.0, 3.0, 2.0, 4.0, 5.0], type='ConsecutiveDrop', drops=2)
    assert active == ['base', 'base', 'base', 'motivated', 'motivated', 'base']


def test_trace_records_loss_model_and_decision_of_each_batch():
    _, hook, _ = run([5.0, 4.0, 3.0, 2.0], type='ConsecutiveDrop', drops=2)
    assert list(hook.trace.losses) == [5, 4, 3, 2]
    assert list(hook.trace.motivated) == [0, 0, 0, 1]
    assert list(hook.trace.decisions) == [0, 0, 1, 1]


def test_switch_transfers_the_weights():
    hook = MotivationHook(dict(type='Always'))
    runner = begin(hook)
    hook.before_train(runner)
    with torch.no_grad():
        runner.model.base.backbone.fc.bias.fill_(3)
    after_batch(hook, runner, 1.0)
    assert runner.model.active == 'motivated' and runner.model.motivated.backbone.fc.bias.tolist() == [3] * 10


def test_resumes_streak_trace_and_metrics():
    _, hook, runner = run([5.0, 4.0], type='ConsecutiveDrop', drops=2)
    hook.after_val_epoch(runner, {'base/accuracy/top1': 50.0})
    restored = MotivationHook(dict(type='ConsecutiveDrop', drops=2))
    other = begin(restored)
    assert other.checkpointer.load_state_dict(runner.checkpointer.state_dict()) == []
    assert restored.state_dict() == {'metrics': {'base/accuracy/top1': 50.0}}
    other.iter = 2
    restored.before_train(other)
    after_batch(restored, other, 3.0)
    assert other.model.active == 'motivated'
    assert list(restored.trace.losses) == [5, 4, 3]


def test_random_policy_takes_the_seed_of_the_run():
    def draws(seed):
        hook = MotivationHook(dict(type='RandomGate', rate=0.5))
        hook.before_run(SimpleNamespace(seed=seed, trains=False))
        return [hook.policy.update(1.0) for _ in range(30)]

    assert draws(0) == draws(0) != draws(1)


def run_digits(folder, policy, epochs=3, **options):
    config = small_config(folder, epochs, **options)
    config.motivation = dict(policy=policy)
    return train(config)


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    return run_digits(tmp_path_factory.mktemp('hook') / 'recorded', dict(type='ConsecutiveDrop', drops=1))


def test_replay_of_a_recorded_run_is_that_run_bit_for_bit(tmp_path, recorded):
    replayed = run_digits(tmp_path / 'replayed', dict(type='Replay', run=recorded.work_dir))
    traces = [SwitchTrace.load(Path(run.work_dir)) for run in (recorded, replayed)]
    assert 0 < sum(traces[0].motivated) < 18
    assert list(traces[0].motivated) == list(traces[1].motivated)
    assert list(traces[0].losses) == list(traces[1].losses)
    for name, tensor in recorded.model.state_dict().items():
        assert torch.equal(tensor, replayed.model.state_dict()[name]), name


def test_matched_random_run_has_exactly_the_recorded_number(tmp_path, recorded):
    run_digits(tmp_path / 'matched', dict(type='MatchedRandom', run=recorded.work_dir))
    expected, matched = (SwitchTrace.load(Path(run)).motivated for run in (recorded.work_dir, tmp_path / 'matched'))
    assert sum(matched) == sum(expected) and matched != expected


def test_trace_file_is_written_after_each_epoch_and_is_the_trace(recorded):
    trace, read = recorded.find_hook(MotivationHook).trace, SwitchTrace.load(Path(recorded.work_dir))
    for name, column in trace.state_dict().items():
        assert column.tolist() == read.state_dict()[name].tolist(), name
    assert list(read.epochs) == [i // 6 for i in range(18)]
    assert list(read.decisions[:-1]) == list(read.motivated[1:])  # each decision holds for the next batch


@pytest.mark.parametrize('options', [{}, {'model.distillation': dict(weight=0.5)}], ids=['plain', 'distillation'])
@pytest.mark.parametrize('mode', ['stop', 'thin'])
def test_budget_policy_keeps_the_budget_by_the_compute_meter(tmp_path, options, mode):
    """1,437 images in batches of 64, with a small last batch."""
    policy = dict(type='Budget', policy=dict(type='Always'), min_saving=1.6, mode=mode)
    options = {'train_dataloader.num_batch_per_epoch': None, **options}
    runner = run_digits(tmp_path / 'run', policy, epochs=1, meter=True, **options)
    meter = runner.find_hook(ComputeMeterHook).meter
    assert sum(work.images for work in meter.trained.values()) == 1437
    least = meter.motivated_alone_train_flops / 1.6
    further = meter.forecast(23, 1437, 64, bool(options.get('model.distillation'))).batch
    assert least - 2 * (further['motivated'] - further['base']) < meter.total_train_flops <= least


class Odd(SwitchPolicy):
    """Returns a given answer and a given state."""

    def __init__(self, answer, memory=None):
        self.answer, self.memory = answer, memory

    def update(self, loss):
        return self.answer

    def state_dict(self):
        return {'memory': self.memory}


def hook_of(policy):
    hook = MotivationHook(dict(type='Never'))
    hook.policy = policy
    runner = begin(hook)
    hook.before_train(runner)
    return hook, runner


def test_numpy_bool_is_a_valid_decision():
    hook, runner = hook_of(Odd(np.bool_(True)))
    after_batch(hook, runner, 1.0)
    assert runner.model.active == 'motivated' and list(hook.trace.decisions) == [1]


def test_missing_decision_raises_one_sentence():
    hook, runner = hook_of(Odd(None))
    with pytest.raises(ConfigError, match=r'Odd\.update must return True or False, got None'):
        after_batch(hook, runner, 1.0)


def test_state_that_cannot_be_saved_raises_before_training():
    """Otherwise the run could be saved, but not resumed."""
    with pytest.raises(ConfigError, match=r"Odd\.state_dict\(\)\['memory'\]\[0\] is a deque"):
        hook_of(Odd(True, [deque([1])]))

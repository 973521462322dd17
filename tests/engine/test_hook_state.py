"""The state of MMEngine's and user-defined hooks is restored on resume."""

import time
from collections import Counter, deque
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EarlyStoppingHook, Hook, IterTimerHook

from motivation.engine.hook_state import HookStates
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import HOOKS
from motivation.utils.checkpoint import checkpoint_name, find_checkpoints
from tests.conftest import tiny_config, train


@HOOKS.register_module(force=True)
class Remembers(Hook):
    def __init__(self, every=1, window=3):
        self.every = every
        self.batches, self.started, self.epoch_losses = 0, time.time(), deque(maxlen=window)
        self.by_epoch, self.classes, self.mean = Counter(), set(), torch.zeros(1)
        self.console = object()

    def before_run(self, runner):
        self.folder = runner.work_dir

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter % self.every == 0:
            self.batches += 1
            self.by_epoch[runner.epoch] += 1
            self.epoch_losses.append(runner.epoch + batch_idx / 100)
            self.classes |= {int(target) for target in data_batch['targets'][:2]}
            self.mean = self.mean + outputs['loss']

    def remembered(self):
        return self.batches, list(self.epoch_losses), self.epoch_losses.maxlen, self.by_epoch, self.classes, self.mean


class StateDict(Hook):
    def __init__(self, count=0):
        self._count = [count]

    def state_dict(self):
        return {'count': self._count[0]}

    def load_state_dict(self, state):
        self._count[0] = state['count']


def states(*hooks):
    made = HookStates()
    for hook in hooks:
        made.add(hook)
    return made


def early_stopping(**fields):
    """Sees no improvement after the first validation and stops after the third."""
    return dict(type='EarlyStoppingHook', monitor='base/accuracy/top1', min_delta=1000, patience=2, **fields)


def test_early_stopping_stops_after_the_same_epoch_and_stays_stopped(capsys):
    config = tiny_config('run', 6)
    config.custom_hooks = [dict(type='Remembers'), dict(type='Remembers', every=2), early_stopping()]
    whole = train(config)
    assert whole.epoch == 3
    config = tiny_config('broken', 6)
    config.custom_hooks = [dict(type='Remembers'), dict(type='Remembers', every=2), early_stopping()]
    runner = DualModelRunner.from_cfg(config)

    class Stop(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 13:
                raise InterruptedError

    runner.register_hook(Stop())
    with pytest.raises(InterruptedError):
        runner.train()
    for _ in range(2):  # the second time it is finished, and stays so
        config = tiny_config('broken', 6)
        config.resume = True
        # In another order, and with another priority.
        config.custom_hooks = [
            early_stopping(priority='VERY_LOW'), dict(type='Remembers', every=2), dict(type='Remembers', priority=90)
        ]  # fmt: skip
        capsys.readouterr()
        resumed = train(config)
        assert resumed.epoch == 3 and resumed.iter == 18
        Path('broken/base.pth').unlink()
        mine = {hook.every: hook for hook in resumed.hooks if isinstance(hook, Remembers)}
        for hook in whole.hooks:
            if isinstance(hook, Remembers):
                assert mine[hook.every].remembered() == hook.remembered()
        assert mine[1].batches == 18 and mine[2].batches == 9
        assert mine[1].folder.endswith('broken')
    assert 'stopped early after epoch 3 and stays finished' in capsys.readouterr().out
    assert find_checkpoints(Path('broken'))[-1].name == checkpoint_name(3)


def test_hooks_from_a_config_are_told_apart_by_arguments_that_they_do_not_keep(capsys):
    @HOOKS.register_module(force=True)
    class Counts(Hook):
        def __init__(self, start):
            self.count = start

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.count += 1

    def hooks(*starts):
        config = tiny_config('counts', 1)
        config.custom_hooks = [dict(type='Counts', start=start) for start in starts]
        return config

    train(hooks(100, 0))
    config = hooks(0, 100)
    config.train_cfg.max_epochs, config.resume, config.allow_changes = 2, True, True
    runner = train(config)
    assert [hook.count for hook in runner.hooks if isinstance(hook, Counts)] == [12, 112]


def test_state_dict_of_a_hook_is_used_and_must_be_plain():
    saved = states(StateDict(7)).state_dict()
    hook = StateDict(7)
    hook._count = [0]
    assert states(hook).load_state_dict(saved) == [] and hook._count == [7]
    with pytest.raises(
        ConfigError, match=r"StateDict\.state_dict\(\)\['count'\] is a deque, which a checkpoint cannot"
    ):
        states(StateDict(deque())).state_dict()


def test_hooks_of_one_class_keep_their_states_apart():
    """Hooks are matched by arguments, equal ones by order, and then by class alone."""
    one, two, three = Remembers(), Remembers(), Remembers(every=5)
    saved = states(one, two, three)
    one.batches, two.batches, three.batches = 1, 2, 3
    entries = saved.state_dict()
    again = [Remembers(every=5), Remembers(), Remembers()]
    assert states(*again).load_state_dict(entries) == []
    assert [hook.batches for hook in again] == [3, 1, 2]
    changed = Remembers(every=7)
    assert states(changed).load_state_dict(entries[2:]) == [] and (changed.batches, changed.every) == (3, 7)
    assert states(EarlyStoppingHook('loss')).load_state_dict(entries) == ['Remembers'] * 3


def test_clocks_and_paths_of_framework_hooks_are_not_saved():
    timer = IterTimerHook()
    made = states(timer)
    timer.time_sec_tot, timer.start_iter, timer.t = 99.0, 7, time.time()
    assert made.state_dict() == []


class Counts(Hook):
    """Has attributes named like the framework's, some of them set in ``before_run``."""

    def __init__(self):
        self.epoch = self.iter = self.max_iters = 0
        self.nested = {'seen': set(), 'lists': [(1, {2})]}

    def before_run(self, runner):
        self.bad, self.folder = 0, runner

    def work(self):
        self.epoch, self.iter, self.max_iters, self.bad = 3, 4, 5, 6
        self.nested['seen'] |= {7, 8}


def begun(hook, runner):
    made = states(hook)
    hook.before_run(runner)
    made.settle()
    return made


def test_attributes_of_any_name_and_depth_are_saved():
    old, new = Counts(), Counts()
    saved = begun(old, 'old')
    old.work()
    assert begun(new, 'new').load_state_dict(saved.state_dict()) == []
    assert (new.epoch, new.iter, new.max_iters, new.bad) == (3, 4, 5, 6)
    assert new.nested == {'seen': {7, 8}, 'lists': [(1, {2})]}


def test_attributes_changed_after_the_state_was_saved_return_to_what_they_were():
    """As in a rollback, which restores within one process."""
    hook = Counts()
    made = begun(hook, 'here')
    before = made.state_dict()
    hook.work()
    hook.later = [1]
    assert made.load_state_dict(before) == []
    fresh = Counts()
    begun(fresh, 'here')
    assert vars(hook) == vars(fresh)


def test_attributes_that_before_run_sets_differently_are_not_restored():
    old, new = Remembers(), Remembers()
    saved = states(old)
    old.folder = 'old'
    saved.settle()
    old.batches = 4
    made = states(new)
    new.folder = 'new'
    made.settle()
    made.load_state_dict(saved.state_dict())
    assert (new.folder, new.batches) == ('new', 4)

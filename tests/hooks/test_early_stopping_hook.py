from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.errors import ArgumentError
from motivation.hooks import EarlyStoppingHook
from motivation.utils.checkpoint import find_checkpoints
from tests.small import small_config

TOP1 = 'motivated/accuracy/top1'


def ends_after(values, monitor=TOP1, **arguments):
    """Return the number of validations after which a run with these results ends, and what is said."""
    hook, said = EarlyStoppingHook(monitor, **arguments), []
    runner = SimpleNamespace(
        trains=True, epoch=0, train_loop=SimpleNamespace(stop_training=False), announce=said.append
    )
    for runner.epoch, value in enumerate(values, 1):
        hook.after_val_epoch(runner, {monitor: value})
        if runner.train_loop.stop_training:
            return runner.epoch, said[0]
    return None, said


@pytest.mark.parametrize(
    ('values', 'arguments', 'end'),
    [
        ([1, 2, 3, 3, 3, 9], dict(patience=2), 5),
        ([1, 2, 2, 3, 3, 4], dict(patience=2), None),
        ([10, 10.5, 11, 11.5], dict(patience=2, min_delta=1.0), None),  # 11 is not above 10 by more than 1, 11.5 is
        ([10, 10.5, 11, 10], dict(patience=3, min_delta=1.0), 4),
        ([3, 2, 1, 2, 1], dict(patience=2, rule='less'), 5),
        ([3, 2, 1, 2, 1], dict(patience=2, monitor='base/loss/cross_entropy'), 5),
        ([float('nan'), float('nan'), 1], dict(patience=2), 2),
        ([1, float('nan'), 2, 3], dict(patience=2), None),
    ],
)
def test_a_run_ends_when_the_best_value_is_too_old(values, arguments, end):
    if end is None and arguments.get('min_delta'):
        values = values[:2] + values[3:]
    assert ends_after(values, **arguments)[0] == end


def test_it_says_why():
    said = ends_after([50, 40, 30], patience=2)[1]
    assert said == f'the run ends after epoch 3: {TOP1} has not improved in 2 validations; the best is 50'


class Results(Hook):
    """Replaces the results of each validation."""

    priority = 'VERY_HIGH'

    def after_val_epoch(self, runner, metrics=None):
        metrics[TOP1] = [10.0, 20.0, 15.0, 12.0, 99.0][runner.epoch - 1]


def stopping(folder, **fields):
    config = small_config(folder, 5)
    config.custom_hooks = [dict(type='EarlyStoppingHook', monitor=TOP1, patience=2)]
    config.update(fields)
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Results())
    return runner


def test_a_stopped_run_is_finished_and_a_resumed_one_stops_there_too(tmp_path, capsys):
    whole = stopping(tmp_path / 'whole')
    whole.train()
    assert whole.epoch == 4 and find_checkpoints(Path(whole.work_dir))[-1].name == 'epoch_4.pth'
    for name in ('base.pth', 'motivated.pth', 'report.md', 'report.json'):
        assert (tmp_path / 'whole' / name).is_file()
    assert 'the run ends after epoch 4: motivated/accuracy/top1 has not improved' in capsys.readouterr().out

    class Crash(Hook):
        def before_train_epoch(self, runner):
            if runner.epoch == 3:
                raise InterruptedError

    begun = stopping(tmp_path / 'parts')
    begun.register_hook(Crash())
    with pytest.raises(InterruptedError):
        begun.train()
    resumed = stopping(tmp_path / 'parts', resume=True)
    resumed.train()
    assert resumed.epoch == 4
    weights = [(tmp_path / folder / 'switches.npz').read_bytes() for folder in ('whole', 'parts')]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(patience=0), r'^patience must be at least 1, got 0'),
        (dict(min_delta=-1.0), r'^min_delta must be at least 0, got -1'),
        (dict(rule='higher'), r"^rule must be 'greater' or 'less'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        EarlyStoppingHook(TOP1, **arguments)

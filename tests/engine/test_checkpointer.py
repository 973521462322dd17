"""Everything with state is saved under its name and restored."""

import builtins
import io
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.cli import prepare_training
from motivation.engine.checkpointer import FORMAT, Checkpointer
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import ReportHook
from motivation.utils.checkpoint import read_checkpoint, write_checkpoint
from tests.conftest import DIGITS, snapshot, tiny_config, train

STOPS_EARLY = [dict(type='EarlyStoppingHook', monitor='base/accuracy/top1', patience=9)]


class Part:
    """A part whose state is a value."""

    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {'value': self.value}

    def load_state_dict(self, state_dict):
        self.value = state_dict['value']


class CountsReports(ReportHook):
    """A subclass of a framework's hook, with further state."""

    def __init__(self):
        super().__init__()
        self.reports = 0


def checkpointer(**parts):
    made = Checkpointer()
    for name, part in parts.items():
        made.register(name, part)
    return made


def test_every_part_is_restored_and_mismatches_are_reported():
    saved = checkpointer(one=Part(1), two=Part(2), gone=Part(3)).state_dict()
    assert saved == {'one': {'value': 1}, 'two': {'value': 2}, 'gone': {'value': 3}, 'hooks': []}
    one, two, new = Part(0), Part(0), Part(9)
    assert checkpointer(one=one, two=two, new=new).load_state_dict(saved, without={'two'}) == [
        "has no state of 'new', which keeps its initial state",
        "has the state of 'gone', which the run no longer has; it is ignored",
    ]
    assert (one.value, two.value, new.value) == (1, 0, 9)


def test_later_part_replaces_an_earlier_one_and_reserved_names_raise():
    made = checkpointer(one=Part(1))
    made.register('one', Part(2))
    assert made.state_dict()['one'] == {'value': 2}
    with pytest.raises(ValueError, match=r"^name must be none of format, meta, parts, hooks, got 'meta'$"):
        made.register('meta', Part(1))


def test_state_that_is_not_plain_raises_with_the_name_of_its_part():
    with pytest.raises(ConfigError, match=r"^one\['value'\] is a set, which a checkpoint cannot hold"):
        checkpointer(one=Part({1})).check_state()


def test_framework_hooks_are_named_after_their_class():
    made, hooks = Checkpointer(), [ReportHook(), ReportHook(), CountsReports()]
    for hook in hooks:
        made.register_hook(hook)
    assert made.parts == dict(zip(('report', 'report_2', 'report_3'), hooks, strict=True))
    hooks[1].history, hooks[2].history, hooks[2].reports = [{'epoch': 1}], [{'epoch': 2}], 5
    again, others = Checkpointer(), [ReportHook(), ReportHook(), CountsReports()]
    for hook in others:
        again.register_hook(hook)
    assert again.load_state_dict(made.state_dict()) == []
    assert [hook.history for hook in others] == [[], [{'epoch': 1}], [{'epoch': 2}]] and others[2].reports == 5


def test_checkpoint_of_a_run_holds_these_parts():
    train(tiny_config('run', 1, meter=True))
    checkpoint = read_checkpoint(Path('run/epoch_1.pth'))
    parts = {
        'state_dict', 'train_loop', 'message_hub', 'optimizer', 'param_schedulers', 'policy', 'switch_trace',
        'motivation', 'compute_meter', 'report', 'export', 'bad_data', 'predictions', 'hooks',
    }  # fmt: skip
    assert set(checkpoint['parts']) == parts and checkpoint.keys() == {*parts, 'format', 'meta', 'parts'}
    assert checkpoint['format'] == FORMAT
    assert len(checkpoint['switch_trace']['losses']) == 6 and checkpoint['train_loop']['iter'] == 6
    assert len(checkpoint['report']['history']) == 1 and checkpoint['policy']['previous'] is not None


def test_weights_loaded_before_training_leave_all_parts_registered():
    train(tiny_config('first', 1))
    runner = DualModelRunner.from_cfg(tiny_config('second', 1))
    runner.load_checkpoint('first/epoch_1.pth')
    runner.train()
    parts = [read_checkpoint(Path(folder) / 'epoch_1.pth')['parts'] for folder in ('first', 'second')]
    assert parts[0] == parts[1]


class Curriculum(Hook):
    """Registers a part of its own before anything is restored."""

    def __init__(self, value):
        self.part = Part(value)

    def before_run(self, runner):
        runner.checkpointer.register('curriculum', self.part)


def test_resumed_run_restores_a_user_defined_part_and_reports_mismatches(capsys):
    config = tiny_config('run', 1)
    config.custom_hooks = STOPS_EARLY
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Curriculum(7))
    runner.train()
    config = tiny_config('run', 1, **{'default_hooks.bad_data': None})
    config.resume = True
    capsys.readouterr()
    runner = DualModelRunner.from_cfg(config)
    hook = Curriculum(0)
    runner.register_hook(hook)
    runner.train()
    assert hook.part.value == 7
    said = capsys.readouterr().out
    for name in ("'bad_data'", "'early_stopping'"):
        assert f"epoch_1.pth' has the state of {name}, which the run no longer has; it is ignored" in said


def as_format_1(path):
    """Convert a checkpoint to format 1, with the loop's state in meta and entries written by hooks."""
    new = read_checkpoint(path)
    old = {name: new[name] for name in ('state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'hooks')}
    old['meta'] = {**new['meta'], **new['train_loop']}
    old['motivation'] = {'policy': new['policy'], 'trace': new['switch_trace'], 'metrics': new['motivation']['metrics']}
    old['report'] = new['report']
    old |= {'best': new['export']['best'], 'scored': new['export']['scored'], 'skipped': new['bad_data']['skipped']}
    write_checkpoint(old, path)


def test_format_1_loads_as_weights_and_raises_on_resume():
    finished = train(tiny_config('run', 1))
    as_format_1(Path('run/epoch_1.pth'))
    config = tiny_config('run', 1)
    config.resume = True
    with pytest.raises(
        ConfigError,
        match=r"^checkpoint '.*run/epoch_1\.pth' has format 1, of an earlier version, and --resume needs format 2; "
        r"resume with that version, or begin a new run with the checkpoint's weights as load_from$",
    ):
        train(config)
    config = tiny_config('test', 1)
    config.load_from = 'run/epoch_1.pth'
    runner = DualModelRunner.from_cfg(config)
    metrics = runner.test()
    expected = finished.find_hook(ReportHook).history[-1]['base']['metrics']['accuracy/top1']
    assert metrics['base/accuracy/top1'] == expected
    trained, loaded = snapshot(finished.model), snapshot(runner.model)
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in trained.items())


@pytest.mark.parametrize('seed', [0, None])
def test_resuming_reads_the_file_once(monkeypatch, seed):
    options = {
        'train_cfg.max_epochs': 1, 'train_dataloader.num_batch_per_epoch': 2, 'randomness.seed': seed,
        'default_hooks.report.picture': False, 'default_hooks.predictions.pictures': False,
        'train_dataloader.batch_size': 16,
        'val_dataloader.batch_size': 16, 'val_dataloader.num_batch_per_epoch': 1,
    }  # fmt: skip
    DualModelRunner.from_cfg(prepare_training(DIGITS, 'run', options=options)).train()
    opened, really_open = [], io.open

    def counting(file, *args, **kwargs):
        opened.append(str(file))
        return really_open(file, *args, **kwargs)

    monkeypatch.setattr(io, 'open', counting)
    monkeypatch.setattr(builtins, 'open', counting)
    runner = DualModelRunner.from_cfg(prepare_training(DIGITS, 'run', resume='latest', options=options))
    runner.train()
    assert runner.iter == 2 and [Path(name).name for name in opened].count('epoch_1.pth') == 1

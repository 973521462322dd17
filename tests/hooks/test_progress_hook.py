import io
import re

import pytest
from mmengine.hooks import Hook
from rich.console import Console

from motivation.engine.runner import DualModelRunner
from motivation.hooks import MotivationHook
from motivation.hooks.progress_hook import ProgressHook, describe_engine, describe_run, format_duration
from tests.conftest import digits_config, train
from tests.small import small_config


@pytest.mark.parametrize(('seconds', 'text'), [(0.4, '0:00:00'), (61, '0:01:01'), (3 * 3600 + 59.6, '3:01:00')])
def test_durations_read_as_a_clock(seconds, text):
    assert format_duration(seconds) == text


def test_prints_a_short_header_one_line_per_epoch_and_the_table(tmp_path, capsys):
    runner = train(digits_config(tmp_path / 'run', meter=True, **{'default_hooks.progress.interval': 0}))
    printed = capsys.readouterr()
    assert printed.err == ''
    text = printed.out[: printed.out.index('\nepoch 1/2')]
    assert text.count('\n') + 1 <= 15
    assert text.splitlines()[:6] == describe_run(runner)[:6]
    assert 'cifar_resnet8: 77,754 parameters, 0.76 MMACs forward and 1.52 backward an image' in text
    assert '56 tensors shared, extension of 194,432 parameters, statistics private' in text
    assert ': 384 of 1,437 training and 360 validation images, 10 classes: 0, 1, 2, 3, 4, ...' in text
    lines = printed.out.splitlines()
    assert (
        len([line for line in lines if re.match(r'epoch \d/2  batch \d/6  active (base |motivated)\s+loss \d', line)])
        == 12
    )
    epochs = [
        line
        for line in lines
        if re.match(r'epoch \d/2  loss \d\.\d{4}  motivated batches \d+%  \S+ FLOPs  top-1: base ', line)
    ]
    assert len(epochs) == 2
    assert 'saving: ' in printed.out and 'accuracy/top1' in printed.out


def test_header_names_what_is_switched_on_of_the_engine(tmp_path):
    options = {'model.precision': 'bf16', 'model.ema.decay': 0.9, 'optim_wrapper.motivated.accumulate': 2}
    runner = DualModelRunner.from_cfg(small_config(tmp_path / 'run', **options))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    assert (
        describe_engine(runner)
        == 'bf16, 1 (base) and 2 (motivated) micro-batches a batch, averaged weights (decay 0.9)'
    )


def test_terminal_is_released_after_an_error(tmp_path):
    runner = DualModelRunner.from_cfg(small_config(tmp_path / 'run'))
    hook = runner.find_hook(ProgressHook)
    hook.console = Console(file=io.StringIO(), force_terminal=True, width=120)

    class Faulty(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise KeyboardInterrupt

    runner.register_hook(Faulty(), priority='LOWEST')
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    printed = hook.console.file.getvalue()
    assert '\x1b[?25l' in printed and printed.rindex('\x1b[?25h') > printed.rindex('\x1b[?25l')  # cursor hidden, shown


def test_live_display_shows_epoch_batch_model_and_loss(tmp_path, monkeypatch):
    monkeypatch.setattr('motivation.hooks.progress_hook.LIVE_INTERVAL', 0)
    runner = DualModelRunner.from_cfg(small_config(tmp_path / 'run', meter=True))
    hook = runner.find_hook(ProgressHook)
    hook.console = Console(file=io.StringIO(), force_terminal=True, width=80, force_interactive=True)
    states = []

    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            states.append(hook._progress.tasks[0].fields['state'])

    runner.register_hook(Look(), priority='LOWEST')
    runner.train()
    trace = runner.find_hook(MotivationHook).trace
    for index, state in enumerate(states):
        made_by = 'motivated' if trace.motivated[index] else 'base'
        assert state.split()[:7] == ['epoch', '1/1', 'batch', f'{index + 1}/6', 'active', made_by, 'loss']
        assert state.split()[7] == f'{trace.losses[index]:.4f}'
        assert all(len(line) <= 54 for line in state.splitlines())  # beside bar and time, in 80 columns
    assert len(states) == 6


def test_validation_alone_prints_no_training_line(tmp_path, capsys):
    config = small_config(tmp_path / 'run')
    metrics = DualModelRunner.from_cfg(config).val()
    assert set(metrics) == {f'{m}/accuracy/top{k}' for m in ('base', 'motivated') for k in (1, 5)}
    assert capsys.readouterr().out == ''


def test_run_without_a_meter_shows_progress_without_flops(tmp_path, capsys):
    train(small_config(tmp_path / 'run', **{'default_hooks.progress.interval': 0}))
    lines = capsys.readouterr().out.splitlines()
    assert '  base       cifar_resnet8: 77,754 parameters' in lines
    assert any(
        re.fullmatch(r'epoch 1/1  batch 6/6  active .* motivated batches \d+%  0:00:00 left', line) for line in lines
    )
    assert any(re.match(r'epoch 1/1  loss \S+  motivated batches \d+%  top-1: base ', line) for line in lines)
    assert not any('FLOP' in line or 'MAC' in line for line in lines)

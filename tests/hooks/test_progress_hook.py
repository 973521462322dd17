import re

import pytest

from motivation.hooks.progress_hook import describe_run, format_duration
from tests.conftest import digits_config, train


@pytest.mark.parametrize(('seconds', 'text'), [(0.4, '0:00:00'), (61, '0:01:01'), (3 * 3600 + 59.6, '3:01:00')])
def test_durations_read_as_a_clock(seconds, text):
    assert format_duration(seconds) == text


def test_prints_a_short_header_a_line_an_epoch_and_the_table(tmp_path, capsys):
    runner = train(digits_config(tmp_path / 'run', **{'default_hooks.progress.interval': 0}))
    printed = capsys.readouterr()
    assert printed.err == ''
    text = printed.out[: printed.out.index('\nepoch 1/2')]
    assert text.count('\n') + 1 <= 15
    assert text.splitlines()[:6] == describe_run(runner)[:6]
    assert 'cifar_resnet8: 77,754 parameters, 0.76 MMACs forward and 1.52 backward an image' in text
    assert '56 tensors shared, extension of 194,432 parameters, statistics private' in text
    assert '384 training and 360 validation images, 10 classes' in text
    lines = printed.out.splitlines()
    assert (
        len([line for line in lines if re.match(r'epoch \d/2  batch \d/6  active (base |motivated)\s+loss \d', line)])
        == 12
    )
    epochs = [
        line for line in lines if re.match(r'epoch \d/2  loss \d\.\d{4}  motivated batches \d+%  top-1: base ', line)
    ]
    assert len(epochs) == 2
    assert 'saving: ' in printed.out and 'accuracy/top1' in printed.out


def test_validation_alone_prints_no_training_line(tmp_path, capsys):
    config = digits_config(tmp_path / 'run')
    from motivation.engine.runner import DualModelRunner

    metrics = DualModelRunner.from_cfg(config).val()
    assert set(metrics) == {f'{m}/accuracy/top{k}' for m in ('base', 'motivated') for k in (1, 5)}
    assert capsys.readouterr().out == ''

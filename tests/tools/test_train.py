import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import DIGITS, ROOT
from tests.small import FEW_IMAGES, SMALL_PAIR
from tests.tools.call import call, call_here

SHORT = ['train_cfg.max_epochs=2', 'train_dataloader.num_batch_per_epoch=4']
SHORT += [f'{name}={value}' for name, value in {**SMALL_PAIR, **FEW_IMAGES}.items()]


def test_train_resume_and_test():
    first = call('train.py', DIGITS, '--work-dir', 'run', '--cfg-options', *SHORT)
    assert (first.returncode, first.stderr) == (0, '')
    report = json.loads(Path('run/report.json').read_text())

    Path('run/epoch_2.pth').unlink()
    resumed = call_here('train.py', DIGITS, '--work-dir', 'run', '--resume', '--cfg-options', *SHORT)
    assert (resumed.returncode, resumed.stderr) == (0, '')
    assert 'resumed after batch 4 of 8' in resumed.stdout
    again = json.loads(Path('run/report.json').read_text())
    for result in (report, again):
        assert result.pop('wall_seconds') > 0
        for name in ('base', 'motivated'):
            for field in ('seconds', 'images_per_second', 'flops_per_second'):
                result[name].pop(field)
    assert again == report

    tested = call_here('test.py', DIGITS, 'run/epoch_2.pth', '--models', 'motivated', '--cfg-options', *SHORT)
    assert (tested.returncode, tested.stderr) == (0, '')
    printed = dict(re.findall(r'^(\S+): ([\d.]+)$', tested.stdout, flags=re.M))
    expected = {f'motivated/{name}': f'{value:.2f}' for name, value in report['motivated']['metrics'].items()}
    assert printed == expected


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([DIGITS, '--cfg-options', 'motivation.policy.drops'], 'error: --cfg-options takes KEY=VALUE'),
        (['nowhere.py'], "error: config 'nowhere.py' does not exist"),
        ([DIGITS, '--cfg-options', 'motivation.policy.type=Nevr'], "error: motivation.policy.type is 'Nevr'"),
        ([DIGITS, '--cfg-options', 'model.base.model_name=cifar_resnet110'], 'error: the base model does not fit'),
    ],
)
def test_invalid_input_is_one_sentence_and_exit_status_2(arguments, message):
    done = call_here('train.py', *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count('\n') == 1
    assert done.stdout == ''


@pytest.mark.parametrize(
    ('module', 'content', 'message'),
    [
        (
            'torchvision',
            "raise RuntimeError('operator torchvision::nms does not exist')",
            'another torch than the installed',
        ),
        ('cv2', "raise ImportError('libGL.so.1: cannot open shared object file')", 'opencv-python-headless'),
    ],
)
def test_broken_installation_is_one_sentence(tmp_path, module, content, message):
    (tmp_path / f'{module}.py').write_text(content)
    done = call('train.py', DIGITS, env={'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {module} cannot be imported') and message in done.stderr
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGUSR1, 0), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_during_the_start_ends_the_tool_with_one_line(number, status):
    command = [sys.executable, str(ROOT / 'tools/train.py'), DIGITS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        while b'SigCgt' in (caught := Path(f'/proc/{started.pid}/status').read_bytes()):
            mask = int(re.search(rb'SigCgt:\s*(\w+)', caught)[1], 16)
            if mask >> (signal.SIGUSR1 - 1) & 1:
                break
            time.sleep(0.05)
        started.send_signal(number)
        said = started.stderr.read()
    assert started.returncode == status
    assert said.strip() == f'{number.name}: stopped; there was nothing to save'


def test_contradicting_precisions_are_one_sentence():
    done = call_here('train.py', DIGITS, '--amp', 'fp16', '--cfg-options', 'model.precision=bf16')
    assert done.returncode == 2
    assert done.stderr == 'error: --amp fp16 and --cfg-options model.precision=bf16 differ; give one\n'

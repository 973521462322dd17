"""Mistakes on the command lines of the benchmarks, which are found before anything is made or read."""

import pytest

from tests.conftest import ROOT
from tests.tools.call import call_here


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        (
            'benchmark_decoding.py',
            ['--images', '0'],
            "argument --images: must be a whole number of at least 1, got '0'",
        ),
        ('benchmark_decoding.py', ['--side', '8'], "argument --side: must be a whole number of at least 20, got '8'"),
        (
            'benchmark_decoding.py',
            ['--repeats', 'x'],
            "argument --repeats: must be a whole number of at least 1, got 'x'",
        ),
        (
            'benchmark_peer.py',
            ['--timm-train', 'x', '--workers', '-1'],
            'argument --workers: must be a whole number of at',
        ),
        ('benchmark_peer.py', ['--timm-train', 'x'], "error: --timm-train is 'x', which is no file; download train.py"),
        (
            'benchmark_peer.py',
            ['--timm-train', __file__, '--images', '20'],
            'error: --images is 20, less than a batch, --batch-size 64, and both drop an incomplete batch; give more',
        ),
        (
            'benchmark_peer.py',
            ['--timm-train', __file__, '--json', 'no/x.json'],
            "error: --json is 'no/x.json', whose folder",
        ),
        ('benchmark_engine.py', ['--iters', '0'], "argument --iters: must be a whole number of at least 1, got '0'"),
        ('benchmark_overhead.py', ['--after', '0'], "argument --after: must be a whole number of at least 1, got '0'"),
        (
            'benchmark_claims.py',
            ['--comparisons', '1'],
            'argument --comparisons: must be a whole number of at least 20',
        ),
        ('benchmark_data.py', ['--batches', '0'], "argument --batches: must be a whole number of at least 1, got '0'"),
        ('benchmark_data.py', ['--cfg-options', 'x'], 'error: --cfg-options takes KEY=VALUE'),
        (
            'benchmark_data.py',
            ['--cfg-options', 'train_dataloader.dataset.root=no'],
            "error: train_dataloader.dataset.root 'no' does not exist",
        ),
        (
            'benchmark_data.py',
            [
                str(ROOT / 'configs/digits/resnet8_resnet20_consecutive.py'),
                '--cfg-options',
                'train_dataloader.batch_size=5000',
            ],
            'error: train_dataloader.batch_size is 5000, and the dataset has',
        ),
    ],
)
def test_mistake_is_one_sentence(tool, arguments, message):
    done = call_here(tool, *arguments)
    assert done.returncode == 2 and message in done.stderr and 'Traceback' not in done.stderr, done.stderr

"""The modules that a run imports before it trains, because every unneeded import slows down the start."""

import os
import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import sys, warnings
warnings.simplefilter('ignore')
import motivation.cli, motivation.hooks, motivation.policies, motivation.evaluation, motivation.compute.macs
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_run_starts_without_modules_that_it_does_not_need_yet():
    unneeded = [
        'matplotlib.figure',
        'fvcore',
        'sklearn',
        'scipy',
        'pandas',
        'codecarbon',
        'hypothesis',
        'pytest',
        'datasets',
        'webdataset',
    ]
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, *unneeded],
        capture_output=True, text=True, check=True, env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    assert done.stdout.split() == []

"""A whole comparison, run from the command line."""

import json
from pathlib import Path

import pytest

from motivation.comparison.timing import Timing
from motivation.policies.switch_trace import SwitchTrace
from tests.conftest import DIGITS
from tests.tools.call import call_forked, call_here

PLUGIN = """
import torch

from motivation.datasets import ImageDataset
from motivation.datasets.image_dataset import TensorImages
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, POLICIES


@DATASETS.register_module()
class Noise(ImageDataset):
    def __init__(self):
        pixels = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        super().__init__(TensorImages(pixels, torch.arange(32) % 10), [str(label) for label in range(10)])


@POLICIES.register_module()
class EveryThird(SwitchPolicy):
    def update(self, loss, iter):
        if iter == self.stop:
            raise RuntimeError('stopped on purpose')
        return iter % 3 == 0

    def __init__(self, stop=None):
        self.stop = stop
"""


def test_comparison_with_a_plugin_policy_a_control_and_a_failure():
    """The plugin is next to the config, not in the current folder."""
    Path('mine').mkdir()
    Path('mine/every_third.py').write_text(PLUGIN)
    Path('mine/config.py').write_text(
        f"_base_ = {DIGITS!r}\ncustom_imports = dict(imports=['every_third'])\n"
        'train_dataloader = dict(batch_size=8, dataset=dict(_delete_=True, type="Noise"))\n'
        'val_dataloader = dict(dataset=dict(_delete_=True, type="Noise"))\n'
        'default_hooks = dict(report=dict(picture=False))\n'
    )
    arguments = [
        'mine/config.py', '--arms', 'EveryThird', 'matched', 'EveryThird:stop=6', '--seeds', '0', '--epochs', '2',
        '--jobs', '2', '--work-dir', 'work',
    ]  # fmt: skip
    first = call_forked('compare.py', *arguments)
    assert first.returncode == 1, first.stderr  # one run failed
    assert 'EveryThird:stop=6, seed 0: failed: RuntimeError: stopped on purpose' in first.stdout

    comparison = json.loads(Path('work/compare.json').read_text())
    arms = {arm['arm']: arm for arm in comparison['arms']}
    assert [len(arm['runs']) for arm in arms.values()] == [1, 1, 0]
    traces = {name: SwitchTrace.load(Path(f'work/{name}/seed0')) for name in ('EveryThird', 'matched')}
    assert list(traces['EveryThird'].motivated) == [0, 0, 0, 1, 0, 0, 1, 0]
    assert sum(traces['matched'].motivated) == 2
    report = json.loads(Path('work/EveryThird/seed0/report.json').read_text())
    run = arms['EveryThird']['runs'][0]
    assert (run['base'], run['motivated']) == tuple(
        report[name]['metrics']['accuracy/top1'] for name in ('base', 'motivated')
    )
    assert run['total_train_flops'] == report['total_train_flops']
    assert Path('work/compare.png').stat().st_size > 10_000

    untouched = Path('work/matched/seed0/report.json').stat().st_mtime_ns
    second = call_forked('compare.py', *[argument for argument in arguments if argument != 'EveryThird:stop=6'])
    assert (second.returncode, second.stderr) == (0, '')
    assert '2 of them already finished' in second.stdout and 'started' not in second.stdout
    assert Path('work/matched/seed0/report.json').stat().st_mtime_ns == untouched

    drawn = call_here('plot_switches.py', 'work/EveryThird/seed0', 'work/matched/seed0')
    assert (drawn.returncode, drawn.stdout) == (0, 'written: work/switches.png\n')
    assert Path('work/switches.png').stat().st_size > 10_000 and not Path('switches.png').exists()
    drawn = call_here('plot_switches.py', 'work/matched/seed0')
    assert (drawn.returncode, drawn.stdout) == (0, 'written: work/matched/seed0/switches.png\n')


def test_forecast_prints_hours_and_runs_nothing(monkeypatch):
    timing = Timing(base=0.1, motivated=0.2, validation={'base': 1.0, 'motivated': 2.0}, setup=5.0, batches=23)
    monkeypatch.setattr('motivation.comparison.compare.time_runs', lambda configs, _: [timing] * len(configs))
    done = call_here('compare.py', DIGITS, '--arms', 'never', 'always', '--seeds', '0', '--forecast')
    assert (done.returncode, done.stderr) == (0, '')
    # 40 epochs of 23 batches and a validation: 137 s of the base model; 269 s of the other, which misses a batch.
    assert 'about 0.113 hours for the 2 of 2 runs that are left, 1 at a time' in done.stdout
    assert not Path('work_dirs').exists()


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('compare.py', [DIGITS, '--arms', 'nevr'], "error: --arms 'nevr' is neither an arm"),
        ('plot_switches.py', ['nowhere'], "error: 'nowhere' has no switches.npz"),
    ],
)
def test_invalid_input_is_one_sentence_and_exit_status_2(tool, arguments, message):
    done = call_here(tool, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count('\n') == 1

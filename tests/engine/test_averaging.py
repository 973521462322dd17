"""Runs with averaged weights: scored, exported, saved and resumed beside the weights themselves."""

import json
import socket
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.cli import prepare_test
from motivation.engine.recalibration import recalibrated
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from tests.config.test_metric_names import PLATEAU, STOP, build
from tests.conftest import DIGITS, ROOT, digits_config, train
from tests.engine.optim.test_non_finite import SpoilLoss
from tests.forked import run_forked

EMA = {'model.ema.decay': 0.9}
SWITCHING = {'motivation.policy.drops': 1}


def averages(runner):
    return {
        name: {key: value.clone() for key, value in model.state_dict().items()}
        for name, model in runner.model.averages.models.items()
    }


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, state in one.items():
        assert all(torch.equal(value, other[name][key]) for key, value in state.items()), name


class Noting(Hook):
    """Notes the averages after each batch, and what the run says."""

    def __init__(self):
        self.after, self.said = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append(averages(runner))

    def on_message(self, runner, message):
        self.said.append(message)


def run(config, *hooks):
    runner, noting = DualModelRunner.from_cfg(config), Noting()
    for hook in (noting, *hooks):
        runner.register_hook(hook)
    runner.train()
    return runner, noting


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run with averages and a checkpoint within its first epoch."""
    folder = tmp_path_factory.mktemp('whole')
    kept = {'default_hooks.checkpoint.every_iters': 4, 'default_hooks.checkpoint.max_keep': 9}
    return folder / 'run', *run(digits_config(folder / 'run', 2, meter=True, **EMA, **SWITCHING, **kept))


def resumed(folder, checkpoint, epochs=2, allow_changes=False, **options):
    config = digits_config(folder, epochs, meter=True, **SWITCHING, **options)
    config.resume, config.load_from, config.allow_changes = True, str(checkpoint), allow_changes
    return config


def test_resumed_run_has_the_averages_and_files_of_an_uninterrupted_one(tmp_path, whole):
    folder, uninterrupted, _ = whole
    runner, _ = run(resumed(tmp_path / 'run', folder / 'epoch_0_iter_4.pth', **EMA))
    assert runner.model.averages.steps == 12
    assert_equal(averages(runner), averages(uninterrupted))
    history = [json.loads((path / 'report.json').read_text())['history'] for path in (folder, tmp_path / 'run')]
    assert history[0] == history[1]
    for file in ('base_ema.pth', 'motivated_ema.pth'):
        before, after = (load_exported(path / file).state_dict() for path in (folder, tmp_path / 'run'))
        assert_equal({file: before}, {file: after})


def test_report_has_the_averages_metrics_and_compute(whole):
    folder, runner, _ = whole
    report = json.loads((folder / 'report.json').read_text())
    for name in ('base', 'motivated'):
        rows = [row[name]['metrics'] for row in report['history']]
        assert [*rows[0]] == ['accuracy/top1', 'accuracy/top5', 'ema/accuracy/top1', 'ema/accuracy/top5']
        best = max(row['ema/accuracy/top1'] for row in rows)
        assert report[name]['metrics'] == rows[-1] and report[name]['best']['ema/accuracy/top1']['value'] == best
        images = 2 * len(rows) * len(runner.val_dataloader.dataset)  # of the weights and of their averages
        assert report[name]['evaluation_flops'] == 2 * images * report[name]['forward_macs_per_image']
    table = (folder / 'report.md').read_text()
    assert '| ema/accuracy/top1 |' in table and '| best ema/accuracy/top1 |' in table


def test_skipped_batch_does_not_enter(tmp_path):
    config = digits_config(tmp_path, 1, **EMA, **{'train_cfg.on_bad_loss': 'skip'})
    runner, noting = run(config, SpoilLoss('base', {1}))
    assert runner.model.averages.steps == 5
    assert_equal(noting.after[0], noting.after[1])
    assert not torch.equal(*(after['base/ema']['backbone.fc.weight'] for after in noting.after[1:3]))


def test_statistics_of_averages_are_re_estimated_under_the_averaged_weights(tmp_path):
    runner = DualModelRunner.from_cfg(digits_config(tmp_path, **EMA, **{'model.recalibrate': 64}))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.model.average()
    runner.model.base.backbone.conv1.weight.data += 1
    before, seen = averages(runner), []
    norm, conv = (getattr(runner.model.scored()['base/ema'].backbone, name) for name in ('bn1', 'conv1'))
    conv.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    with recalibrated(runner):
        assert len(seen) == 1 and len(seen[0]) == 64
        torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)))
        assert not torch.allclose(norm.running_mean, runner.model.base.backbone.bn1.running_mean)
    assert_equal(averages(runner), before)


def test_averages_switched_on_begin_with_the_checkpoints_weights_if_changes_are_allowed(tmp_path, whole):
    plain = digits_config(tmp_path / 'plain', 1, **SWITCHING)
    train(plain)
    checkpoint = tmp_path / 'plain' / 'epoch_1.pth'
    options = {'default_hooks.compute_meter': None, 'train_cfg.val_interval': 2}
    with pytest.raises(
        ConfigError, match=r'^train_cfg\.max_epochs is 2, and was 1, model\.ema\.decay is 0\.9, and was left'
    ):
        run(resumed(tmp_path / 'plain', checkpoint, **EMA, **options))
    runner, noting = run(resumed(tmp_path / 'plain', checkpoint, 2, True, **EMA, **options))
    assert f"'{checkpoint}' has no state of 'ema', which keeps its initial state" in noting.said
    assert runner.model.averages.steps == 6
    with pytest.raises(
        ConfigError, match=rf"^model\.ema asks for averaged weights, and '{checkpoint}' has none; .*=None$"
    ):
        DualModelRunner.from_cfg(prepare_test(DIGITS, str(checkpoint), None, dict(EMA))).test()
    off, noting = run(resumed(tmp_path / 'off', whole[0] / 'epoch_2.pth', 2, True))
    assert (
        f"'{whole[0] / 'epoch_2.pth'}' has the state of 'ema', which the run no longer has; it is ignored"
        in noting.said
    )
    assert off.model.averages is None


def test_weights_loaded_to_begin_with_begin_averages_anew(tmp_path, whole):
    config = digits_config(tmp_path, 1, **EMA, **{'train_dataloader.num_batch_per_epoch': 1})
    config.load_from = str(whole[0] / 'epoch_2.pth')
    runner, _ = run(config)
    assert runner.model.averages.steps == 1
    assert torch.equal(runner.model.scored()['base/ema'].backbone.fc.weight, runner.model.base.backbone.fc.weight)


def test_one_model_is_tested_with_its_average(tmp_path, whole):
    config = prepare_test(DIGITS, str(whole[0] / 'epoch_2.pth'), ['base'], dict(EMA))
    metrics = DualModelRunner.from_cfg(config).test()
    expected = json.loads((whole[0] / 'report.json').read_text())['history'][-1]['base']['metrics']
    assert metrics == {f'base/{name}': value for name, value in expected.items()}


def test_metrics_of_averages_can_be_named(tmp_path):
    gain = dict(_delete_=True, type='Not', policy=dict(type='ValidationGain', metric='base/ema/accuracy/top1'))
    hooks = [dict(STOP, monitor='motivated/ema/accuracy/top5')]
    schedule = [dict(PLATEAU, monitor='motivated/ema/accuracy/top1')]
    build(tmp_path, schedule, custom_hooks=hooks, **{'motivation.policy': gain, **EMA})
    with pytest.raises(ConfigError, match=r"^custom_hooks\.0\.monitor is 'motivated/ema/accuracy/top5', which"):
        build(tmp_path, custom_hooks=hooks)
    with pytest.raises(
        ConfigError, match=r"^default_hooks\.export\.save_best is 'ema/accuracy/top1', .*'accuracy/top1'"
    ):
        build(tmp_path, **EMA, **{'default_hooks.export.save_best': 'ema/accuracy/top1'})


def test_progress_shows_the_averages(tmp_path, capsys):
    train(digits_config(tmp_path, 1, **EMA, **{'train_dataloader.num_batch_per_epoch': 1}))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('epoch 1/1  loss'))
    shown = line.partition('top-1: ')[2].split('  ')
    assert [part.split()[0] for part in shown] == ['base', 'motivated', 'base/ema', 'motivated/ema']


TOGETHER = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from motivation.engine.optim.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.parallel import train_together
from motivation.models.averages import Averages
from motivation.utils.distributed import join_processes, share_buffers
from tests.conftest import small_batch, small_dual_model

join_processes()
rank, model = torch.distributed.get_rank(), small_dual_model()
model.averages = Averages(model.weight_map, decay=0.5)
optim_wrapper = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1)))(model)
train_together(model, dict())
for step in range(4):
    model.train_step(small_batch(seed=2 * step + rank), optim_wrapper)
    model.average()
    (model.activate, model.deactivate)[step % 2]()
for part in model.scored().values():
    share_buffers(part)
sums = [[value.double().sum().item() for value in part.state_dict().values()] for part in model.scored().values()]
open(f'{{sys.argv[1]}}/{{rank}}.json', 'w').write(json.dumps(sums))
"""


def test_averages_of_two_processes_are_equal(tmp_path):
    Path(tmp_path, 'together.py').write_text(TOGETHER)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        shared = {'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1'}
        shared['MASTER_PORT'] = str(free.getsockname()[1])
    ranks = [{**shared, 'RANK': rank, 'LOCAL_RANK': rank} for rank in '01']
    for done in run_forked(tmp_path / 'together.py', tmp_path, environments=ranks):
        assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in '01')
    assert first == second and len(first) == 4 and first[0] != first[2]

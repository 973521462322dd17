"""Complete runs and their results."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import digits_config, snapshot, tiny_config, train


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run of four epochs of six batches, with a picture."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    return train(tiny_config(folder, 4, meter=True, **{'default_hooks.report.picture': True}))


def trace_of(runner):
    return runner.find_hook(MotivationHook).trace


def test_run_leaves_logs_reports_and_both_models(run):
    work_dir = Path(run.work_dir)
    report = json.loads((work_dir / 'report.json').read_text())
    assert {'report.md', 'report.png', 'base.pth', 'motivated.pth', 'epoch_3.pth', 'epoch_4.pth'} <= {
        path.name for path in work_dir.iterdir()
    }
    assert list(work_dir.glob('*/vis_data/events.out.tfevents.*'))
    lines = (next(work_dir.glob('*/vis_data/scalars.json'))).read_text().splitlines()
    steps = [json.loads(line) for line in lines if 'motivated' in json.loads(line)]
    trace = trace_of(run)
    assert [step['loss'] for step in steps] == list(trace.losses)  # every step is logged
    assert [step['motivated'] for step in steps] == list(trace.motivated)
    assert report['base']['params'] == 77_754 and report['motivated']['params'] == 272_186
    for name in ('base', 'motivated'):
        assert report[name]['metrics']['accuracy/top1'] == report['history'][-1][name]['metrics']['accuracy/top1']
        batch = next(iter(run.val_dataloader))
        exported = load_exported(work_dir / f'{name}.pth')
        model = getattr(run.model, name).eval()
        inputs = model.data_preprocessor(batch)['inputs']
        assert torch.equal(exported(inputs), model(inputs))


def test_report_adds_up_to_what_the_trace_says(run):
    """The totals are computed again from the switch trace and counts made by hand."""
    report = json.loads(Path(run.work_dir, 'report.json').read_text())
    trace = trace_of(run)
    motivated = sum(trace.motivated)
    assert len(trace) == 24 and report['motivated']['iters'] == motivated and report['base']['iters'] == 24 - motivated
    assert report['motivated_fraction'] == motivated / 24
    flops = {
        name: 2 * 16 * (report[name]['forward_macs_per_image'] + report[name]['backward_macs_per_image'])
        for name in ('base', 'motivated')
    }
    total = (24 - motivated) * flops['base'] + motivated * flops['motivated']
    assert report['total_train_flops'] == total
    assert report['motivated_alone_train_flops'] == 24 * flops['motivated']
    assert report['saving'] == 24 * flops['motivated'] / total
    # The forward count of ResNet-8 on 8 x 8 grey images, from its widths.
    stem, rest = 64 * 16 * 9, 2 * 64 * 16 * 16 * 9
    rest += 16 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) + 4 * (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) + 64 * 10
    assert report['base']['forward_macs_per_image'] == stem + rest
    assert report['base']['backward_macs_per_image'] == 2 * (stem + rest) - stem


def test_active_model_follows_the_definition_of_the_method(run):
    """The decision after batch i holds for batch i + 1; two drops in a row activate, the first rise deactivates."""
    losses = list(trace_of(run).losses)
    expected = [i >= 3 and losses[i - 1] < losses[i - 2] < losses[i - 3] for i in range(len(losses))]
    assert [bool(flag) for flag in trace_of(run).motivated] == expected
    assert any(expected)


def test_checkpoints_are_plain_and_the_newest_are_kept(run):
    folder = Path(run.work_dir)
    kept = find_checkpoints(folder)
    assert [path.name for path in kept] == ['epoch_3.pth', 'epoch_4.pth']
    for path in [*kept, folder / 'base.pth', folder / 'motivated.pth']:
        assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []


def test_the_seed_determines_the_run(tmp_path, run):
    runs = [train(tiny_config(tmp_path / str(seed), 1, **{'randomness.seed': seed})) for seed in (0, 1)]
    same, other = (list(trace_of(one).losses) for one in runs)
    assert same == list(trace_of(run).losses)[:6] != other


def test_schedule_that_begins_after_the_run_raises(tmp_path):
    config = digits_config(tmp_path / 'run', epochs=1)
    config.param_scheduler = [dict(type='CosineAnnealingLR', T_max=5, begin=5)]
    with pytest.raises(
        ConfigError, match=r'param_scheduler does not fit train_cfg\.max_epochs, which is 1: .*param_scheduler=\[\]'
    ):
        train(config)


def test_small_last_batch_is_counted_as_it_is(tmp_path):
    config = digits_config(tmp_path / 'run', epochs=1, meter=True)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.dataset.split = 'test'
    runner = train(config)
    meter = runner.find_hook(ComputeMeterHook).meter
    works = meter.trained.values()
    assert sum(work.images for work in works) == 360 and sum(work.iters for work in works) == 6


@pytest.mark.parametrize(('policy', 'motivated'), [('Never', [0] * 6), ('Always', [0] + [1] * 5)])
def test_baselines_train_one_model(tmp_path, policy, motivated):
    short = {'train_dataloader.num_batch_per_epoch': 3}
    runner = train(tiny_config(tmp_path / 'run', **short, **{'motivation.policy': dict(_delete_=True, type=policy)}))
    assert list(trace_of(runner).motivated) == motivated


@pytest.mark.parametrize('workers', [0, 1])
def test_augmentation_differs_from_epoch_to_epoch(tmp_path, workers):
    """With MMEngine's worker seeds all epochs would have the same crops."""
    config = tiny_config(tmp_path / 'run', 3, **{'train_dataloader.num_batch_per_epoch': 2})
    config.train_dataloader.update(num_workers=workers, sampler=dict(type='DefaultSampler', shuffle=False))
    batches = []

    class Keep(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 0:
                batches.append(data_batch['inputs'].clone())

    config.custom_hooks = []
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(Keep())
    runner.train()
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[2])


def test_type_error_in_a_hook_keeps_its_own_traceback(tmp_path):
    class Faulty(Hook):
        def before_train(self, runner):
            return 1 + 'a'

    runner = DualModelRunner.from_cfg(digits_config(tmp_path / 'run'))
    runner.register_hook(Faulty())
    with pytest.raises(TypeError, match=r'^unsupported operand') as caught:
        runner.train()
    assert caught.traceback[-1].name == 'before_train' and caught.traceback[-1].path.name == 'test_runner.py'


@pytest.mark.parametrize('extension', ['default', 'zero'])
def test_training_starts_with_the_weights_that_were_built(tmp_path, extension):
    """MMEngine initialises models before training, which must keep pretrained weights and a zero extension."""
    config = tiny_config(
        tmp_path / 'run', 1, **{'train_dataloader.num_batch_per_epoch': 1}, **{'model.extension': extension}
    )
    config.model.base.zero_init_last = config.model.motivated.zero_init_last = False
    runner = DualModelRunner.from_cfg(config)
    built, begun = snapshot(runner.model), {}

    class Look(Hook):
        def before_train(self, runner):
            begun.update(snapshot(runner.model))

    runner.register_hook(Look())
    runner.train()
    assert built.keys() == begun.keys() and all(torch.equal(tensor, begun[name]) for name, tensor in built.items())
    added = begun['motivated.backbone.layer1.2.bn2.weight']
    assert added.any() == (extension == 'default')

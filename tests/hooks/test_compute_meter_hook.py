"""The compute meter of a real run, compared with its trace, data and logs."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motivation.compute.macs import measure_model
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.hooks.compute_meter_hook import find_meter
from motivation.models import TimmClassifier
from motivation.registry import MODELS
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import train
from tests.small import small_config

SAMPLE = {'inputs': torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 'targets': torch.tensor([0])}

NEVER = dict(_delete_=True, type='Never')
ALTERNATING = dict(_delete_=True, type='Periodic', on=1, off=4)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run on all 1,437 images, in 23 batches with a small last one, and statistics re-estimated on 100 images."""
    folder = tmp_path_factory.mktemp('meter') / 'run'
    options = {'model.recalibrate': 100, 'default_hooks.compute_meter.interval': 10}
    config = small_config(folder, 2, meter=True, **options)
    config.train_dataloader.pop('num_batch_per_epoch')
    return train(config)


@pytest.fixture(scope='module')
def macs():
    widths = {'base': 1, 'motivated': 2}
    return {
        name: measure_model(TimmClassifier('cifar_resnet8', 10, width=width, in_chans=1, mean=[0.5], std=[0.5]), SAMPLE)
        for name, width in widths.items()
    }


def recomputed(trace, macs):
    """Return the cumulative (forward, backward) FLOPs of each model after every batch, from the trace."""
    totals = {'base': [(0, 0)], 'motivated': [(0, 0)]}
    for index, flag in enumerate(trace.motivated):
        images = 29 if index % 23 == 22 else 64
        for name, sums in totals.items():
            steps = images * (flag == (name == 'motivated'))
            forward, backward = (2 * steps * part.per_image for part in macs[name].step)
            sums.append((sums[-1][0] + forward, sums[-1][1] + backward))
    return totals


def test_totals_equal_the_sum_over_the_switch_trace(finished, macs):
    trace, meter = finished.find_hook(MotivationHook).trace, finished.find_hook(ComputeMeterHook).meter
    assert len(trace) == 46 and 0 < sum(trace.motivated) < 46
    for name, sums in recomputed(trace, macs).items():
        assert (meter.forward_flops(name), meter.backward_flops(name)) == sums[-1]


def test_validation_and_reestimation_are_counted_separately(finished, macs):
    meter = finished.find_hook(ComputeMeterHook).meter
    for name in ('base', 'motivated'):
        assert meter.evaluation_flops(name) == 2 * 2 * 40 * macs[name].inference.per_image  # two epochs
        assert meter.reestimation_flops(name) == 2 * 2 * 100 * macs[name].inference.per_image  # which are exported


def test_curves_hold_running_totals_and_means_per_step(finished, macs):
    totals = recomputed(finished.find_hook(MotivationHook).trace, macs)
    steps = [10, 20, 30, 40, 46]
    logs = Path(finished.log_dir) / 'vis_data'
    events = EventAccumulator(str(logs)).Reload()
    lines = [json.loads(line) for line in (logs / 'scalars.json').read_text().splitlines()]
    lines = [line for line in lines if 'flops/base/total' in line]
    assert [line['step'] for line in lines] == steps
    for name, sums in totals.items():
        for part, pick in (('forward', lambda s: s[0]), ('backward', lambda s: s[1]), ('total', sum)):
            values = [pick(sums[step]) for step in steps]
            means = [(b - a) / n for a, b, n in zip([0, *values], values, [10, 10, 10, 10, 6], strict=False)]
            assert [line[f'flops/{name}/{part}'] for line in lines] == values
            assert [line[f'iter_flops/{name}/{part}'] for line in lines] == means
            curve = events.Scalars(f'flops/{name}/{part}')
            assert [event.step for event in curve] == steps
            assert [event.value for event in curve] == pytest.approx(values)  # in single precision
        for line, begin, end in zip(lines, [0, *steps], steps, strict=False):
            if sums[begin] == sums[end]:  # this model made none of the steps
                assert f'images_per_second/{name}' not in line
            else:
                assert line[f'images_per_second/{name}'] > 0 and line[f'flops_per_second/{name}'] > 0


def test_time_of_the_batches_is_part_of_the_wall_time(finished):
    report = json.loads((Path(finished.work_dir) / 'report.json').read_text())
    seconds = sum(report[name]['seconds'] for name in ('base', 'motivated'))
    assert 0.1 * report['wall_seconds'] < seconds < report['wall_seconds'] + 0.1
    for name in ('base', 'motivated'):
        one = report[name]
        assert one['images_per_second'] == pytest.approx(one['images'] / one['seconds'])
        assert one['flops_per_second'] == pytest.approx(one['train_flops'] / one['seconds'])


def test_checkpoint_holds_the_totals(finished):
    totals = read_checkpoint(Path(finished.work_dir) / 'epoch_2.pth')['compute_meter']['totals']
    meter = finished.find_hook(ComputeMeterHook).meter
    for name in ('base', 'motivated'):
        assert totals[name]['train_flops'] == meter.train_flops(name)
        assert totals[name]['forward_flops'] + totals[name]['backward_flops'] == meter.train_flops(name)


def test_distillation_adds_a_step_of_the_base_to_every_motivated_batch(tmp_path, macs):
    options = {'model.distillation': dict(weight=0.5), 'motivation.policy': dict(ALTERNATING, off=1)}
    runner = train(small_config(tmp_path / 'run', meter=True, **options))
    trace, meter = runner.find_hook(MotivationHook).trace, runner.find_hook(ComputeMeterHook).meter
    assert list(trace.motivated) == [0, 1] * 3
    assert meter.train_flops('base') == macs['base'].step.flops(6, 6 * 64)
    assert meter.batch_flops('base') + meter.batch_flops('motivated') == meter.total_train_flops


class FreesTheStem(Hook):
    """Freezes the first layer of both models for two batches."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for name in ('base', 'motivated'):
            getattr(runner.model, name).backbone.conv1.requires_grad_(runner.iter >= 2)


def test_frozen_layer_has_no_backward_compute(tmp_path, macs):
    runner = DualModelRunner.from_cfg(small_config(tmp_path / 'run', meter=True, **{'motivation.policy': NEVER}))
    runner.register_hook(FreesTheStem())
    runner.train()
    stem = 8 * 8 * 16 * 9  # the gradient to its weight; twice as wide in the motivated model
    meter, images = runner.find_hook(ComputeMeterHook).meter, 6 * 64
    assert meter.backward_flops('base') == 2 * (images * macs['base'].step.backward.per_image - 2 * 64 * stem)
    alone = macs['motivated'].step
    assert meter.motivated_alone_train_flops == alone.flops(6, images) - 2 * 2 * 64 * 2 * stem


def test_images_of_another_size_are_counted_at_their_size(tmp_path, macs):
    """Training on 8 x 8 pixels, validation on 16 x 16."""
    options = {'val_dataloader.dataset.transforms': [dict(type='Resize', size=[16, 16])]}
    runner = train(small_config(tmp_path / 'run', meter=True, **options))
    meter = runner.find_hook(ComputeMeterHook).meter
    for name in ('base', 'motivated'):
        model = getattr(runner.model, name)
        large = measure_model(model, {**SAMPLE, 'inputs': torch.zeros(1, 1, 16, 16, dtype=torch.uint8)}).inference
        assert large.per_image > 3.9 * macs[name].inference.per_image
        assert meter.evaluation_flops(name) == 2 * 40 * large.per_image


def test_resumed_curves_continue_from_the_last_entry(tmp_path):
    """Entries after batches 4, 8 and 12; resumed after batch 6; batch 5 is the motivated model's."""
    options = {'default_hooks.compute_meter.interval': 4, 'motivation.policy': ALTERNATING}
    config = small_config(tmp_path / 'run', 2, meter=True, **options)

    def entries():
        lines = (
            json.loads(line) for path in (tmp_path / 'run').glob('*/vis_data/scalars.json') for line in path.open()
        )
        of_flops = (
            {key: value for key, value in line.items() if 'flops/' in key} for line in lines if line['step'] != 6
        )
        return [line for line in of_flops if line]

    train(config)
    whole = entries()
    assert len(whole) == 3 and whole[1]['iter_flops/motivated/total'] > 0
    (tmp_path / 'run/epoch_2.pth').unlink()
    config.resume = True
    assert train(config).find_hook(MotivationHook).trace.motivated == bytearray([0, 0, 0, 0, 1] * 2 + [0, 0])
    assert entries() == whole


@pytest.mark.parametrize('interval', [0, 2.5, True])
def test_invalid_interval_raises(interval):
    with pytest.raises(ConfigError, match=rf'^interval must be (at least 1|a whole number), got {interval}$'):
        ComputeMeterHook(interval=interval)


@MODELS.register_module()
class Unpriced(TimmClassifier):
    """Uses an operator without a formula, with ``only`` on images of that size."""

    def __init__(self, only=None, **kwargs):
        super().__init__(**kwargs)
        self.only = only

    def forward(self, inputs, targets=None, mode='tensor'):
        if self.only in (None, inputs.shape[-1]):
            torch.cdist(inputs.flatten(1), inputs.flatten(1))
        return super().forward(inputs, targets, mode)


REASON = 'cdist'


def unpriced_config(work_dir, epochs=1, only=None, **options):
    config = small_config(work_dir, epochs, meter=True, **options)
    for name in ('base', 'motivated'):
        config.model[name].update(type='Unpriced', only=only)
    return config


@pytest.mark.parametrize('only', [None, 16], ids=['from the first batch', 'where validation has larger images'])
def test_model_that_cannot_be_counted_trains_with_one_warning_and_a_reason_in_the_report(tmp_path, caplog, only):
    config = unpriced_config(tmp_path / 'run', 2, only)
    if only is not None:
        config.val_dataloader.dataset.transforms = [dict(type='Resize', size=[16, 16])]
    runner = train(config)
    log = ''.join(path.read_text() for path in (tmp_path / 'run').glob('*/*.log'))
    assert log.count('compute is not counted: ') == 1 and find_meter(runner) is None
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['compute'].startswith('not counted: ') and REASON in report['compute']
    assert 'saving' not in report and 'train_flops' not in report['base']
    assert report['base']['iters'] + report['motivated']['iters'] == 12
    assert read_checkpoint(tmp_path / 'run/epoch_2.pth')['state_dict']


def test_model_that_cannot_be_counted_raises_if_the_policy_asks_for_compute(tmp_path):
    policy = dict(_delete_=True, type='Budget', policy=dict(type='Always'), min_saving=1.5)
    with pytest.raises(ConfigError, match=f"asks for 'compute', which is not counted: .*{REASON}"):
        train(unpriced_config(tmp_path / 'run', **{'motivation.policy': policy}))
    with pytest.raises(ConfigError, match=r'default_hooks has no ComputeMeterHook, which motivation\.policy needs'):
        train(small_config(tmp_path / 'other', **{'motivation.policy': policy}))


def test_check_raises_for_a_model_that_cannot_be_counted(tmp_path):
    with pytest.raises(ConfigError, match=REASON):
        train(unpriced_config(tmp_path / 'run', **{'train_cfg.type': 'CheckLoop'}))
    train(small_config(tmp_path / 'other', **{'train_cfg.type': 'CheckLoop'}))  # nothing to count


def test_run_started_without_a_meter_is_not_counted_after_a_resume(tmp_path):
    train(small_config(tmp_path / 'run'))
    config = small_config(tmp_path / 'run', 2, meter=True)
    config.resume = config.allow_changes = True
    assert find_meter(train(config)) is None
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['compute'] == 'not counted: a part of the run was made without ComputeMeterHook'

"""Mixed precision in training and evaluation, and the loss scaler of fp16."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict

from motivation.engine import DualOptimWrapperConstructor
from motivation.errors import ConfigError, TrainingError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.registry import HOOKS
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import digits_config, small_batch, small_dual_model, train
from tests.engine.optim.test_step import step
from tests.models.test_distillation import distilling

SGD = dict(type='SGD', lr=0.1, momentum=0.9)
SHORT = {'train_dataloader.num_batch_per_epoch': 3, 'train_dataloader.batch_size': 8}


def build(model, precision, **options):
    model.precision = precision
    return DualOptimWrapperConstructor(dict(optimizer=SGD, **options))(model)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
@pytest.mark.parametrize('active', ['base', 'motivated'])
def test_step_is_near_that_of_full_precision(precision, active):
    """Relative differences: of the loss below 2 %, of the step of all weights below 10 %."""
    steps, losses = [], []
    for choice in ('fp32', precision):
        model = small_dual_model().train()
        if active == 'motivated':
            model.activate()
        before = torch.cat([parameter.detach().flatten() for parameter in getattr(model, active).parameters()])
        record, _ = step(model, build(model, choice), small_batch(images=8))
        after = torch.cat([parameter.detach().flatten() for parameter in getattr(model, active).parameters()])
        assert record.stepped and after.dtype == torch.float32
        steps.append(after - before)
        losses.append(record.loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[1] != losses[0]
    assert (steps[1] - steps[0]).norm() < 0.1 * steps[0].norm()


def test_predictions_are_float32_in_the_models_precision():
    model = small_dual_model().eval()
    expected = torch.stack([row['logits'] for row in model.val_step(small_batch())['base']])
    model.precision = 'bf16'
    rows = torch.stack([row['logits'] for row in model.val_step(small_batch())['base']])
    assert rows.dtype == torch.float32 and not rows.equal(expected)
    torch.testing.assert_close(rows, expected, rtol=0.05, atol=0.05)


@HOOKS.register_module(force=True)
class OverflowsOnce(Hook):
    """Makes a gradient of the base model infinite in the third batch."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            weight = runner.model.base.backbone.fc.bias
            self.handle = weight.register_hook(lambda gradient: gradient * torch.inf)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 2:
            self.handle.remove()
            self.record = runner.last_step


@pytest.fixture(scope='module')
def overflowed(tmp_path_factory):
    """Return a run of two epochs in fp16 that never sleeps, and skips its third step."""
    options = {
        **SHORT,
        'model.precision': 'fp16',
        'custom_hooks': [dict(type='OverflowsOnce')],
        'motivation.policy': dict(_delete_=True, type='Never'),
    }
    folder = tmp_path_factory.mktemp('fp16') / 'run'
    return train(digits_config(folder, 2, meter=True, **options)), options


def test_step_with_an_overflow_is_not_taken_but_counted(overflowed):
    """The policy does not receive its loss, and the scale is halved."""
    runner, _ = overflowed
    record = runner.find_hook(OverflowsOnce).record
    assert record.finite and not record.stepped
    meter = runner.find_hook(ComputeMeterHook).meter
    assert meter.skipped['base'].iters == 1 and meter.trained['base'].iters == 5
    assert runner.train_loop.skipped == 1 and len(runner.find_hook(MotivationHook).trace) == 6
    assert runner.optim_wrapper['base'].scaler.get_scale() == 2**15
    momentum = runner.optim_wrapper['base'].optimizer.state.values()
    assert all(state['momentum_buffer'].isfinite().all() for state in momentum)


def test_resumed_run_has_the_scale_and_weights_of_an_uninterrupted_one(overflowed, tmp_path):
    runner, options = overflowed
    (tmp_path / 'run').mkdir()
    shutil.copy(f'{runner.work_dir}/epoch_1.pth', tmp_path / 'run')
    config = digits_config(tmp_path / 'run', 2, meter=True, **options)
    config.resume = True
    resumed = train(config)
    ends = [read_checkpoint(Path(run.work_dir) / 'epoch_2.pth') for run in (runner, resumed)]
    assert ends[0]['optimizer']['base']['loss_scaler'] == ends[1]['optimizer']['base']['loss_scaler']
    assert ends[0]['optimizer']['base']['loss_scaler']['scale'] == 2**15
    for name, tensor in ends[0]['state_dict'].items():
        assert tensor.equal(ends[1]['state_dict'][name]), name


@HOOKS.register_module(force=True)
class AlwaysOverflows(Hook):
    """Makes a gradient of the base model infinite in every batch."""

    def before_train(self, runner):
        runner.model.base.backbone.fc.bias.register_hook(lambda gradient: gradient * torch.inf)


def test_gradients_that_overflow_at_any_scale_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr('motivation.engine.train_loop.MAX_OVERFLOWS_IN_A_ROW', 3)
    options = {**SHORT, 'model.precision': 'fp16', 'custom_hooks': [dict(type='AlwaysOverflows')]}
    options['default_hooks.compute_meter.interval'] = 1  # also logs when no step was taken
    config = digits_config(tmp_path / 'run', 2, meter=True, **options)
    with pytest.raises(
        TrainingError, match=r'^the gradients of the base model overflow in fp16 at iteration 4, as in the 3'
    ):
        train(config)


def test_base_model_does_not_learn_from_a_motivated_step_that_overflows():
    model = distilling(weight=0.5).train()
    wrappers = build(model, 'fp16')
    model.activate()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.motivated.backbone.fc.bias.register_hook(lambda gradient: gradient * torch.inf)
    record, _ = step(model, wrappers, small_batch())
    assert record.finite and not record.stepped and not record.distilled
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize('name', ['AmpOptimWrapper', 'ApexOptimWrapper'])
def test_mmengines_mixed_precision_is_refused(name):
    with pytest.raises(ConfigError, match=rf"^optim_wrapper\.type is '{name}', .* write model\.precision="):
        build(small_dual_model(), 'fp32', type=name)


def test_scaler_of_a_wrapper_without_state_begins_anew():
    """A checkpoint of a run in full precision has no scale."""
    model = small_dual_model()
    plain, scaled = build(model, 'fp32'), build(model, 'fp16')
    assert isinstance(scaled, OptimWrapperDict) and 'loss_scaler' not in plain['base'].state_dict()
    scaled['base'].load_state_dict(plain['base'].state_dict())
    assert scaled['base'].scaler.get_scale() == 2**16

"""Signals of real runs, compared with the measurements of a test hook."""

from functools import partial

import pytest
import torch
from mmengine.hooks import Hook

from motivation.errors import ConfigError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.hooks.policy_signals import SIGNALS
from motivation.policies import SwitchPolicy
from motivation.registry import HOOKS, POLICIES
from tests.conftest import train
from tests.small import small_config


class Records(SwitchPolicy):
    """Alternates, and records its signals."""

    def __init__(self):
        self.seen = []

    def _keep(self, **signals):
        self.seen.append(signals)
        return len(self.seen) % 2 == 1


@POLICIES.register_module(force=True)
class RecordsAll(Records):
    def update(
        self, loss, accuracy, grad_norm, sample_progress, held_in_loss, grad_agreement, iter, max_iters, progress, epoch,
        metrics, compute,
    ):  # fmt: skip
        return self._keep(
            accuracy=accuracy, grad_norm=grad_norm, sample_progress=sample_progress,
            held_in_loss=held_in_loss, grad_agreement=grad_agreement, iter=iter, max_iters=max_iters, progress=progress,
            epoch=epoch, metrics=metrics, compute=compute,
        )  # fmt: skip


@POLICIES.register_module(force=True)
class RecordsNorm(Records):
    def update(self, loss, grad_norm):
        return self._keep(grad_norm=grad_norm)


@POLICIES.register_module(force=True)
class AsksForTheMoon(SwitchPolicy):
    def update(self, loss, gradnorm):
        return False


@HOOKS.register_module(force=True)
class Witness(Hook):
    """Records the logits and gradients of each step independently of the signals."""

    def __init__(self):
        self.norms, self.accuracies = [], []

    def before_train(self, runner):
        for name in ('base', 'motivated'):
            model = getattr(runner.model, name)
            model.backbone.register_forward_hook(partial(self._look_at_logits, name))
            for parameter in model.parameters():
                parameter.register_post_accumulate_grad_hook(partial(self._look_at_gradient, name))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.logits, self.squares = {}, {'base': 0.0, 'motivated': 0.0}

    def _look_at_logits(self, name, module, inputs, logits):
        self.logits[name] = logits.detach()

    def _look_at_gradient(self, name, parameter):
        self.squares[name] += float(parameter.grad.double().square().sum())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        active = 'motivated' if outputs['motivated'] else 'base'
        self.norms.append(self.squares[active] ** 0.5)
        self.accuracies.append(float((self.logits[active].argmax(1) == data_batch['targets']).double().mean()))


def run(tmp_path, policy, **options):
    config = small_config(tmp_path / 'run', epochs=2, **options)
    config.motivation = dict(policy=dict(type=policy))
    config.custom_hooks = [dict(type='Witness')]
    runner = train(config)
    return runner, runner.find_hook(MotivationHook).policy.seen, runner.find_hook(Witness)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp('signals'), 'RecordsAll', meter=True)


def test_policy_receives_every_signal(finished):
    runner, seen, witness = finished
    assert [signals.keys() for signals in seen] == [SIGNALS.keys()] * 12
    assert list(runner.find_hook(MotivationHook).trace.motivated) == [i % 2 for i in range(12)]  # both models
    assert [signals['accuracy'] for signals in seen] == pytest.approx(witness.accuracies)
    assert [signals['grad_norm'] for signals in seen] == pytest.approx(witness.norms, rel=1e-5)
    assert [signals['iter'] for signals in seen] == list(range(1, 13))
    assert {signals['max_iters'] for signals in seen} == {12}
    assert [signals['progress'] for signals in seen] == [i / 12 for i in range(1, 13)]
    assert [signals['epoch'] for signals in seen] == [0] * 5 + [1] * 6 + [2]  # that of the next batch
    validated = [index for index, signals in enumerate(seen) if signals['metrics'] is not None]
    assert validated == [6] and 0 <= seen[6]['metrics']['base/accuracy/top1'] <= 100
    meter = runner.find_hook(ComputeMeterHook).meter
    assert seen[-1]['compute'].spent == meter.total_train_flops
    assert seen[-1]['compute'].left == {'base': 0, 'motivated': 0}
    assert {signals['compute'].motivated_alone for signals in seen} == {meter.motivated_alone_train_flops}


def test_signals_leave_training_unchanged(finished, tmp_path):
    """Equal decisions with and without signals give equal weights."""
    asking, *_ = finished
    config = small_config(tmp_path / 'run', epochs=2)
    config.motivation = dict(policy=dict(type='Periodic', on=1, off=1))
    plain = train(config)
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, asking.model.state_dict()[name]), name


@pytest.mark.parametrize('clip', [dict(max_norm=1e-3), dict(type='value', clip_value=1e-3)], ids=['norm', 'value'])
def test_gradient_norm_is_measured_before_clipping(tmp_path, clip):
    _, seen, witness = run(tmp_path, 'RecordsNorm', **{'optim_wrapper.clip_grad': clip})
    assert [signals['grad_norm'] for signals in seen] == pytest.approx(witness.norms, rel=1e-5)


def test_signals_of_a_distilled_batch_are_of_the_motivated_step(tmp_path):
    """Not of the base model's further step on the same batch."""
    runner, seen, witness = run(tmp_path, 'RecordsAll', meter=True, **{'model.distillation': dict(weight=0.5)})
    motivated = [i for i, flag in enumerate(runner.find_hook(MotivationHook).trace.motivated) if flag]
    assert motivated == list(range(1, 12, 2))
    assert [signals['accuracy'] for signals in seen] == pytest.approx(witness.accuracies)
    assert [signals['grad_norm'] for signals in seen] == pytest.approx(witness.norms, rel=1e-5)
    per_step = seen[1]['compute']
    assert per_step.spent == per_step.batch['base'] + per_step.batch['motivated']


def test_unused_signals_cost_nothing(tmp_path):
    """A policy that uses only the loss registers no hook in a model or optimizer."""
    runner = train(small_config(tmp_path / 'run'))
    assert not any(module._forward_pre_hooks for module in runner.model.modules())
    for name in ('base', 'motivated'):
        assert not runner.optim_wrapper[name].optimizer._optimizer_step_pre_hooks


def test_unknown_signal_raises_one_sentence(tmp_path):
    config = small_config(tmp_path / 'run')
    config.motivation = dict(policy=dict(type='AsksForTheMoon'))
    with pytest.raises(ConfigError, match="asks for 'gradnorm', which is not a signal; did you mean 'grad_norm'"):
        train(config)


def test_metrics_without_validation_raise_one_sentence(tmp_path):
    config = small_config(tmp_path / 'run')
    config.motivation = dict(policy=dict(type='ValidationGain'))
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    with pytest.raises(ConfigError, match="asks for 'metrics', but this run has no validation"):
        train(config)

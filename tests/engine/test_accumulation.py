"""Micro-batches of a batch add up to the step that the whole batch would take."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch.nn.modules.batchnorm import _BatchNorm

from motivation.compute.macs import Macs, ModelMacs, StepMacs
from motivation.compute.meter import ComputeMeter
from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.optim.exchanging import exchange_of
from motivation.errors import ConfigError
from motivation.hooks import ComputeMeterHook
from motivation.policies import SwitchPolicy
from motivation.registry import OPTIM_WRAPPERS, POLICIES
from motivation.structures import MODEL_NAMES
from tests.conftest import digits_config, small_batch, small_dual_model, tiny_config, train
from tests.engine.optim.test_step import step
from tests.models.test_distillation import distilling

SGD = dict(type='SGD', lr=0.1, momentum=0.9)


def build(model, accumulate, **options):
    return DualOptimWrapperConstructor(dict(optimizer=SGD, accumulate=accumulate, **options))(model)


def without_batch_statistics(model):
    """Return a model in double precision, in training mode but for its batch norms."""
    model = model.double().train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


@pytest.mark.parametrize('images', [4, 10, 11])
@pytest.mark.parametrize('case', ['base', 'motivated', 'distilled'])
def test_micro_batches_train_like_the_whole_batch(case, images):
    """Ten images in four micro-batches have 3, 3, 2 and 2: each image weighs the same."""
    whole, split = (
        without_batch_statistics(distilling(weight=0.5) if case == 'distilled' else small_dual_model())
        for _ in range(2)
    )
    records = []
    for model, accumulate in ((whole, 1), (split, 4)):
        if case != 'base':
            model.activate()
        wrappers = build(model, accumulate, clip_grad=dict(max_norm=1.0))
        exchange_of(wrappers).ask_for_grad_norm()
        for seed in range(2):
            record, _ = step(model, wrappers, small_batch(seed, images))
        records.append(record)
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(split.get_parameter(name), parameter, rtol=1e-9, atol=1e-12)
    assert records[1].loss == pytest.approx(records[0].loss, rel=1e-9)
    assert records[1].grad_norm == pytest.approx(records[0].grad_norm, rel=1e-9)
    assert (records[0].passes, records[1].passes) == (1, min(4, images // 2))
    assert records[0].images == records[1].images == images


def test_models_may_be_split_differently():
    model = small_dual_model().train()
    wrappers = build(model, 1, motivated=dict(accumulate=2))
    passes = []
    for _ in range(2):
        record, _ = step(model, wrappers, small_batch())
        passes.append((record.model, record.passes))
        model.activate()
    assert passes == [('base', 1), ('motivated', 2)]


@pytest.mark.parametrize('value', [0, 1.5, 'two'])
def test_invalid_number_of_micro_batches_raises(value):
    with pytest.raises(ConfigError, match=r'^accumulate must be .*, got '):
        build(small_dual_model(), value)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('accumulate', 0, r'^optim_wrapper\.accumulate must be at least 1, got 0$'),
        ('base', dict(accumulate=-1), r'^optim_wrapper\.base\.accumulate must be at least 1, got -1$'),
        ('accumulate', 9, r'^optim_wrapper\.accumulate is 9 for the base model, .* 16; .*: give at most 8$'),
    ],
)
def test_invalid_number_of_micro_batches_names_its_field(tmp_path, field, value, message):
    with pytest.raises(ConfigError, match=message):
        train(tiny_config(tmp_path / 'run', 1, **{f'optim_wrapper.{field}': value}))


@OPTIM_WRAPPERS.register_module(force=True)
class StepsByItself(OptimWrapper):
    def update_params(self, loss, step_kwargs=None, zero_kwargs=None):
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


@pytest.mark.parametrize('options', [{'optim_wrapper.accumulate': 2}, {'model.precision': 'fp16'}], ids=str)
def test_wrapper_that_ignores_micro_batches_and_loss_scale_raises(tmp_path, options):
    options = {**options, 'optim_wrapper.type': 'StepsByItself', 'optim_wrapper.optimizer': dict(SGD, _delete_=True)}
    with pytest.raises(ConfigError, match=r"^optim_wrapper\.type is 'StepsByItself', which does not step through self"):
        train(tiny_config(tmp_path / 'run', 1, **options))


@POLICIES.register_module(force=True)
class SeesAccuracy(SwitchPolicy):
    def __init__(self):
        self.accuracies = []

    def update(self, loss, accuracy):
        self.accuracies.append(accuracy)
        return False


def test_policy_sees_the_accuracy_of_the_whole_batch_and_the_meter_every_micro_batch(tmp_path):
    options = {
        'train_dataloader.batch_size': 16,
        'train_dataloader.num_batch_per_epoch': 3,
        'motivation.policy': dict(_delete_=True, type='SeesAccuracy'),
        'optim_wrapper.accumulate': 4,
    }
    runner = train(digits_config(tmp_path / 'run', 1, meter=True, **options))
    accuracies = runner.model.motivation.policy.accuracies
    assert len(accuracies) == 3 and all(16 * accuracy == round(16 * accuracy) for accuracy in accuracies)
    meter = runner.find_hook(ComputeMeterHook).meter
    assert meter.trained['base'].flops == meter.macs['base'].step.flops(batches=3 * 4, images=3 * 16)
    assert runner.last_step.passes == 4


def test_micro_batches_whose_cost_has_a_fixed_part_are_counted_one_by_one():
    step_macs = StepMacs(Macs(10, 3), Macs(15, 4))
    macs = {name: ModelMacs(Macs(9), step_macs, Macs(8), step_macs) for name in MODEL_NAMES}
    meter = ComputeMeter(macs, processes=2, accumulate={'base': 1, 'motivated': 4})
    meter.add_batch('base', 64)
    meter.add_batch('motivated', 64)
    meter.add_batch('motivated', 12, passes=6)
    assert meter.train_flops('base') == 2 * (64 * 25 + 2 * 7)
    assert meter.train_flops('motivated') == 2 * (76 * 25 + (8 + 6) * 7)
    assert meter.forecast(5, 140 + 128, 64, distillation=False).left == {
        'base': 2 * (128 * 25 + 2 * 2 * 7), 'motivated': 2 * (128 * 25 + 2 * 8 * 7),
    }  # fmt: skip

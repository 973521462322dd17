"""No optimizer steps on a non-finite loss, and gradients are measured before they are clipped."""

import copy
import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, get_total_norm

from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.optim.exchanging import exchange_of
from motivation.engine.optim.non_finite import NonFiniteError
from motivation.errors import ConfigError
from motivation.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from motivation.structures import MODEL_NAMES
from tests.conftest import digits_config, small_batch, small_dual_model, snapshot, train
from tests.engine.optim.test_step import step
from tests.models.test_distillation import distilling


@OPTIM_WRAPPERS.register_module(force=True)
class OfTheUser(OptimWrapper):
    """A user-defined wrapper."""


WRAPPERS = [('OptimWrapper', 'fp32'), ('OptimWrapper', 'fp16'), ('OfTheUser', 'fp32'), (OfTheUser, 'bf16')]
SGD = dict(type='SGD', lr=0.1, momentum=0.9)


def build(model, wrapper='OptimWrapper', precision='fp32', **options):
    model.precision = precision
    return DualOptimWrapperConstructor(dict(type=wrapper, optimizer=SGD, **options))(model)


def spoil(model, factor=math.nan):
    return model.loss.register_forward_hook(lambda module, inputs, loss: loss * factor)


def gradients(model, batch, precision='fp32'):
    """Return the base model's gradients on a batch, from the backward pass of a copy."""
    one = copy.deepcopy(model.base).train()
    data = one.data_preprocessor(batch, True)
    with torch.autocast('cpu', torch.bfloat16 if precision == 'bf16' else torch.float16, precision != 'fp32'):
        logits = one.backbone(data['inputs'])
    cross_entropy(logits.float(), data['targets']).backward()
    return [parameter.grad for parameter in one.parameters()], one


@pytest.mark.parametrize(('wrapper', 'precision'), WRAPPERS, ids=str)
@pytest.mark.parametrize('factor', [math.nan, math.inf])
def test_non_finite_loss_takes_no_step_and_drops_its_gradients(wrapper, precision, factor):
    """The next step is the same as without the non-finite loss."""
    model, twin = small_dual_model(), small_dual_model()
    wrappers, twins = (build(one, wrapper, precision) for one in (model, twin))
    for one, both_wrappers in ((model, wrappers), (twin, twins)):
        one.train().train_step(small_batch(1), both_wrappers)
    before, hook = snapshot(model), spoil(model.base, factor)
    with pytest.raises(NonFiniteError) as bad:
        model.train_step(small_batch(2), wrappers)
    assert bad.value.model == 'base' and not math.isfinite(bad.value.loss)
    assert all(parameter.grad is None for parameter in model.base.parameters())
    parameters = dict(model.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in parameters.items())
    hook.remove()
    for name, buffer in twin.base.named_buffers():
        model.base.get_buffer(name).copy_(buffer)
    for one, both_wrappers in ((model, wrappers), (twin, twins)):
        one.train_step(small_batch(3), both_wrappers)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in snapshot(twin).items())


def test_non_finite_distillation_loss_takes_no_step():
    model = distilling(weight=0.5).train()
    wrappers = build(model)
    model.activate()
    spoil(model.base)
    with pytest.raises(NonFiniteError) as bad:
        model.train_step(small_batch(), wrappers)
    assert bad.value.model == 'base' and not wrappers['base'].optimizer.state
    assert wrappers['motivated'].optimizer.state
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize('clip', [None, dict(max_norm=1e-3), dict(type='value', clip_value=1e-4)], ids=str)
@pytest.mark.parametrize(('wrapper', 'precision'), WRAPPERS, ids=str)
def test_gradient_norm_is_that_of_the_unscaled_gradients_before_clipping(wrapper, precision, clip):
    model = small_dual_model().train()
    wrappers = build(model, wrapper, precision, clip_grad=clip)
    exchange_of(wrappers).ask_for_grad_norm()
    expected = get_total_norm(gradients(model, small_batch(), precision)[0]).item()
    record, _ = step(model, wrappers, small_batch())
    assert record.grad_norm == pytest.approx(expected, rel=1e-3 if precision == 'fp16' else 1e-6)


def test_gradient_norm_is_infinite_if_the_scaler_skips_the_step():
    """With a finite loss and a non-finite gradient the weights stay and the scale is halved."""
    model = small_dual_model().train()
    wrappers = build(model, precision='fp16')
    exchange_of(wrappers).ask_for_grad_norm()
    model.base.backbone.fc.bias.register_hook(lambda gradient: gradient * math.nan)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    record, _ = step(model, wrappers, small_batch())
    assert record.finite and not record.stepped and record.grad_norm == math.inf
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert wrappers['base'].scaler.get_scale() == 2**15


@pytest.mark.parametrize(
    'options', [{}, dict(norm_type=1.0), dict(norm_type='inf'), dict(error_if_nonfinite=True)], ids=str
)
def test_clipping_equals_torchs_and_its_norm_is_logged(options):
    model = small_dual_model().train()
    _, expected = gradients(model, small_batch())
    norm = clip_grad_norm_(expected.parameters(), 0.01, **options)
    torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9).step()
    wrappers = build(model, clip_grad=dict(max_norm=0.01, **options))
    model.train_step(small_batch(), wrappers)
    for name, parameter in expected.named_parameters():
        assert torch.equal(parameter, model.base.get_parameter(name)), name
    assert wrappers['base'].message_hub.get_scalar('train/grad_norm').current() == norm.item()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class BuildsItsOwn:
    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        pass

    def __call__(self, model):
        return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))


def test_wrapper_without_an_exchange_raises(tmp_path):
    config = digits_config(tmp_path / 'run', 1)
    config.optim_wrapper.motivated = dict(constructor='BuildsItsOwn')
    with pytest.raises(
        ConfigError, match=r'builds an optimizer wrapper OptimWrapper for model\.motivated, which would'
    ):
        train(config)


def test_both_wrappers_share_one_exchange():
    wrappers = build(small_dual_model(), OfTheUser)
    assert {id(wrappers[name].exchange) for name in MODEL_NAMES} == {id(exchange_of(wrappers))}
    assert type(wrappers['base']).__name__ == 'OfTheUser'

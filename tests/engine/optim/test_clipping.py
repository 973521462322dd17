import pytest
import torch

from motivation.engine import DualOptimWrapperConstructor
from motivation.errors import ArgumentError
from tests.conftest import small_batch, small_dual_model

SGD = dict(type='SGD', lr=0.1)


def stepped(model, clip_grad, **options):
    """Return the change of each parameter of the base model in a step, and its gradient without clipping."""
    wrappers = DualOptimWrapperConstructor(dict(optimizer=SGD, clip_grad=clip_grad, **options))(model)
    before = {name: parameter.detach().clone() for name, parameter in model.base.named_parameters()}
    model.train_step(small_batch(), wrappers)
    return before, {name: (before[name] - p.detach()) / 0.1 for name, p in model.base.named_parameters()}


def units(tensor):
    return tensor.norm() if tensor.ndim == 1 else tensor.flatten(1).norm(dim=1)


@pytest.mark.parametrize(('clip_grad', 'clipped_head'), [({}, False), ({'exclude': []}, True)])
def test_gradients_of_units_are_clipped_to_a_share_of_their_weights(clip_grad, clipped_head):
    _, free = stepped(small_dual_model(), None)
    before, done = stepped(small_dual_model(), dict(type='agc', clip_factor=0.001, eps=0.01, **clip_grad))
    clipped = 0
    for name, weights in before.items():
        bound = 0.001 * units(weights).clamp(min=0.01)
        is_free = name.startswith('backbone.fc') and not clipped_head
        factor = torch.ones_like(bound) if is_free else (bound / units(free[name])).clamp(max=1)
        expected = (
            free[name] * factor.reshape(-1, *[1] * (weights.ndim - 1)) if weights.ndim > 1 else free[name] * factor
        )
        assert torch.allclose(done[name], expected, atol=1e-5), name
        clipped += int((factor < 1).sum())
    assert clipped > 50


def test_patterns_exclude_parameters_of_one_model():
    config = dict(optimizer=SGD, base=dict(clip_grad=dict(type='agc', exclude=['backbone.layer1.*'])))
    wrappers = DualOptimWrapperConstructor(config)(small_dual_model())
    assert wrappers['base'].clip_grad_kwargs == {'clip_factor': 0.01, 'eps': 0.001, 'norm_type': 2.0}
    assert wrappers['motivated'].clip_grad_kwargs is None


@pytest.mark.parametrize(
    ('clip_grad', 'message'),
    [
        (dict(type='agcc'), r"^clip_grad\.type must be 'norm' or 'value' or 'agc', got 'agcc'"),
        (dict(type='agc', clip_factr=1.0), r"^clip_grad\.clip_factr is not an argument of .*'clip_factor'"),
        (dict(type='agc', clip_factor=0.0), r'^clip_grad\.clip_factor must be above 0, got 0'),
        (dict(type='agc', exclude=['nothing']), r"^clip_grad\.exclude has 'nothing', which matches no parameter"),
        (dict(max_norm=1.0, eps=0.1), r"^clip_grad\.eps is not an argument of type 'norm'"),
        (dict(type='value', max_norm=1.0), r"^clip_grad\.max_norm is not an argument of type 'value'"),
        (dict(norm_type=2.0), r"^clip_grad\.max_norm is missing"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(clip_grad, message):
    with pytest.raises(ArgumentError, match=message):
        DualOptimWrapperConstructor(dict(optimizer=SGD, clip_grad=clip_grad))(small_dual_model())


def test_the_model_of_a_field_is_named():
    config = dict(optimizer=SGD, motivated=dict(clip_grad=dict(type='agcc')))
    with pytest.raises(ArgumentError, match=r'^motivated\.clip_grad\.type must be'):
        DualOptimWrapperConstructor(config)

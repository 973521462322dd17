import pytest
import torch

from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.optim.optim_wrapper import _fuse
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES
from tests.conftest import small_dual_model

SGD = dict(type='SGD', lr=0.1, momentum=0.9)


def test_each_model_has_its_own_optimizer():
    model = small_dual_model()
    wrappers = DualOptimWrapperConstructor(dict(optimizer=SGD))(model)
    for name in ('base', 'motivated'):
        owned = {id(p) for group in wrappers[name].optimizer.param_groups for p in group['params']}
        assert owned == {id(parameter) for parameter in getattr(model, name).parameters()}
        assert wrappers[name].get_lr() == {'lr': [0.1]}


def test_fields_of_one_model_override_the_shared_ones():
    config = dict(optimizer=SGD, clip_grad=dict(max_norm=1.0), motivated=dict(optimizer=dict(lr=0.05)))
    wrappers = DualOptimWrapperConstructor(config)(small_dual_model())
    assert wrappers['base'].get_lr() == {'lr': [0.1]}
    assert wrappers['motivated'].get_lr() == {'lr': [0.05]}
    assert wrappers['motivated'].optimizer.param_groups[0]['momentum'] == 0.9
    assert wrappers['base'].clip_grad_kwargs == wrappers['motivated'].clip_grad_kwargs == {'max_norm': 1.0}


def test_parameter_wise_options_apply_to_both_models():
    constructor = DualOptimWrapperConstructor(
        dict(optimizer=dict(**SGD, weight_decay=0.1)), paramwise_cfg=dict(norm_decay_mult=0.0)
    )
    model = small_dual_model()
    wrappers = constructor(model)
    for name in ('base', 'motivated'):
        decay = {id(g['params'][0]): g['weight_decay'] for g in wrappers[name].optimizer.param_groups}
        backbone = getattr(model, name).backbone
        assert decay[id(backbone.bn1.weight)] == 0.0 and decay[id(backbone.conv1.weight)] == 0.1


def test_gradient_accumulation_raises():
    with pytest.raises(ConfigError, match=r'optim_wrapper\.accumulative_counts must be 1, got 4'):
        DualOptimWrapperConstructor(dict(optimizer=SGD, accumulative_counts=4))


def rates(wrapper):
    return sorted({group['lr'] for group in wrapper.optimizer.param_groups})


def test_parameter_wise_options_of_one_model_override_the_shared_ones():
    config = dict(optimizer=SGD, base=dict(paramwise_cfg=dict(custom_keys={'conv1': dict(lr_mult=0.5)})))
    shared = dict(custom_keys={'conv1': dict(lr_mult=0.1)})
    wrappers = DualOptimWrapperConstructor(config, paramwise_cfg=shared)(small_dual_model())
    assert rates(wrappers['base']) == pytest.approx([0.05, 0.1])
    assert rates(wrappers['motivated']) == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(norm_decay_mul=0.0), r'paramwise_cfg\.norm_decay_mul is not .* did you mean .norm_decay_mult'),
        (
            dict(custom_keys={'backbone.fcc': dict(lr_mult=9)}),
            r"custom_keys has 'backbone\.fcc', which is part of no name",
        ),
        (dict(custom_keys={'fc': dict(lr_mul=9)}), r"custom_keys\['fc'\] has 'lr_mul', .* did you mean 'lr_mult'"),
        (dict(custom_keys=['fc']), r"custom_keys must be a dict, got \['fc'\]; write"),
        (dict(custom_keys={'fc': 9}), r"custom_keys has 'fc': 9; write dict\(lr_mult=\.\.\., decay_mult"),
    ],
)
def test_unknown_parameter_wise_options_raise(options, message):
    with pytest.raises(ConfigError, match=message):
        DualOptimWrapperConstructor(dict(optimizer=SGD), paramwise_cfg=options)(small_dual_model())


def test_custom_keys_may_set_arguments_of_the_optimizer():
    options = dict(custom_keys={'fc': dict(momentum=0.5)})
    wrapper = DualOptimWrapperConstructor(dict(optimizer=SGD), paramwise_cfg=options)(small_dual_model())['base']
    assert {group['momentum'] for group in wrapper.optimizer.param_groups} == {0.5, 0.9}


@pytest.mark.parametrize(
    ('optimizer', 'expected'),
    [
        (dict(type='SGD', lr=0.1), True),
        (dict(type='AdamW', lr=0.1, fused=False), False),
        (dict(type='SGD', lr=0.1, foreach=True), None),
        (dict(type='Rprop', lr=0.1), None),
    ],
)
def test_step_is_fused_where_the_optimizer_can_and_its_config_does_not_choose(optimizer, expected):
    _fuse(optimizer)
    assert optimizer.get('fused') is expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_optimizers_are_fused_on_cuda():
    wrappers = DualOptimWrapperConstructor(dict(optimizer=SGD))(small_dual_model().cuda())
    assert all(wrappers[name].optimizer.defaults['fused'] for name in MODEL_NAMES)


def test_optimizers_are_not_fused_unasked_on_the_cpu():
    wrappers = DualOptimWrapperConstructor(dict(optimizer=SGD))(small_dual_model())
    assert not any(wrappers[name].optimizer.defaults['fused'] for name in MODEL_NAMES)

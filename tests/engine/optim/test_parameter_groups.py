import pytest
import torch

from motivation.engine import DualOptimWrapperConstructor
from motivation.engine.optim.parameter_groups import ParameterGroups
from motivation.engine.optim.rebuilt_optimizers import RebuiltOptimizers
from motivation.errors import ArgumentError, ConfigError
from motivation.models import DualModel
from motivation.structures import MODEL_NAMES
from motivation.weight_maps.layers import layer_scales
from tests.conftest import classifier, small_batch, small_dual_model

SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.5)


def build(model, optimizer=SGD, **options):
    return DualOptimWrapperConstructor(dict(optimizer=optimizer), paramwise_cfg=options)(model)


def per_parameter(model, wrappers, name, field):
    names = {id(parameter): other for other, parameter in getattr(model, name).named_parameters()}
    groups = wrappers[name].optimizer.param_groups
    return {names[id(parameter)]: group[field] for group in groups for parameter in group['params']}


def test_rates_are_the_layer_scales_and_those_of_custom_keys_besides():
    model = small_dual_model()
    wrappers = build(model, layer_decay=0.5, custom_keys={'fc': dict(lr_mult=3.0)})
    scales = layer_scales(model.weight_map, 0.5)
    for name in MODEL_NAMES:
        expected = {p: 0.1 * scale * (3 if 'fc' in p else 1) for p, scale in scales[name].items()}
        assert per_parameter(model, wrappers, name, 'lr') == pytest.approx(expected)
        groups = wrappers[name].optimizer.param_groups
        assert [group['lr'] for group in groups] == sorted((group['lr'] for group in groups), reverse=True)


@pytest.fixture(scope='module')
def transformers():
    tiny = dict(img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2)
    return DualModel(
        base=classifier('test_vit', **tiny),
        motivated=classifier('test_vit', **{**tiny, 'depth': 2}),
        extension='default',
    )


def test_norms_biases_and_what_the_network_names_have_no_decay(transformers):
    wrappers = build(transformers, weight_decay_exclude_1d=True)
    for name in MODEL_NAMES:
        decay = per_parameter(transformers, wrappers, name, 'weight_decay')
        model = getattr(transformers, name)
        spared = {f'backbone.{other}' for other in model.backbone.no_weight_decay()}
        for parameter, tensor in model.named_parameters():
            assert decay[parameter] == (0.0 if tensor.ndim == 1 or parameter in spared else 0.5), parameter
        assert decay['backbone.pos_embed'] == 0.0 and decay['backbone.patch_embed.proj.weight'] == 0.5
        assert len(wrappers[name].optimizer.param_groups) == 2


def test_parameters_in_other_groups_train_as_with_rates_of_their_own():
    models, results = [small_dual_model() for _ in range(2)], []
    for model, groups in zip(models, (True, False), strict=True):
        if groups:
            wrappers = build(model, layer_decay=0.5, weight_decay_exclude_1d=True)
        else:  # the same by names
            scales = layer_scales(model.weight_map, 0.5)['base']
            keys = {
                name: dict(lr_mult=scales[name], decay_mult=float(parameter.ndim > 1))
                for name, parameter in model.base.named_parameters()
            }
            wrappers = build(model, custom_keys=keys)
        for seed in range(3):
            model.train_step(small_batch(seed), wrappers)
        results.append(model.base.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(layer_decay=0.0), r'paramwise_cfg\.layer_decay must be above 0'),
        (dict(layer_decay=1.5), r'paramwise_cfg\.layer_decay must be at most 1'),
        (dict(weight_decay_exclude_1d=1), 'weight_decay_exclude_1d must be True or False, got 1'),
        (dict(layer_decy=0.7), "layer_decy is not a parameter-wise option; did you mean 'layer_decay'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(small_dual_model(), **options)


def test_options_of_shared_tensors_are_refused_for_one_model():
    config = dict(optimizer=SGD, motivated=dict(paramwise_cfg=dict(layer_decay=0.5)))
    with pytest.raises(
        ConfigError, match=r'optim_wrapper\.motivated\.paramwise_cfg\.layer_decay is given for one model'
    ):
        DualOptimWrapperConstructor(config)


def test_an_optimizer_without_a_rate_is_refused():
    with pytest.raises(ArgumentError, match=r'^optimizer\.lr is missing'):
        build(small_dual_model(), dict(type='TimmOptimizer', opt='adafactor'), layer_decay=0.5)


def test_without_options_nothing_is_regrouped():
    model = small_dual_model()
    assert ParameterGroups().settings(model.weight_map)['base'].keys() == dict(model.base.named_parameters()).keys()
    assert len(build(model)['base'].optimizer.param_groups) == 1


@pytest.mark.parametrize(('before', 'after'), [(0.5, 0.9), (0.5, 1.0)])
def test_momentum_stays_with_its_parameter_when_groups_change(before, after):
    model = small_dual_model()
    wrappers = build(model, layer_decay=before)
    model.train_step(small_batch(), wrappers)
    saved = {name: wrappers[name].state_dict() for name in MODEL_NAMES}
    momentum = {p: wrappers['base'].optimizer.state[p]['momentum_buffer'] for p in model.base.parameters()}
    again = build(model, layer_decay=after)
    loop = {'epoch': 0, 'iter': 1}
    rebuilt = RebuiltOptimizers({name: again[name] for name in MODEL_NAMES}, {})
    said = rebuilt.advance(
        {'optimizer': saved, 'train_loop': loop, 'param_schedulers': {}},
        ['optim_wrapper.paramwise_cfg.layer_decay'],
        6,
        1.0,
    )
    assert said == []
    state = again['base'].optimizer.state
    assert all(torch.equal(state[p]['momentum_buffer'], momentum[p]) for p in momentum)
    plain = RebuiltOptimizers({name: build(model)[name] for name in MODEL_NAMES}, {})
    said = plain.advance(
        {'optimizer': saved, 'train_loop': loop, 'param_schedulers': {}},
        ['optim_wrapper.paramwise_cfg.layer_decay'],
        6,
        1.0,
    )
    assert 'begins without the momentum' in said[0]

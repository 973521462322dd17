import pytest
import timm
import torch
from timm.optim._param_groups import param_groups_layer_decay

from motivation.errors import ConfigError
from motivation.models import DualModel
from motivation.weight_maps.layers import layer_numbers, layer_scales, table_of_scales
from tests.conftest import classifier, small_dual_model

PAIRS = {
    'resnet': ('resnet18', 'resnet34', {}),
    'efficientnet': ('efficientnet_b0', 'efficientnet_b2', {}),
    'vit': ('vit_tiny_patch16_224', 'vit_small_patch16_224', dict(img_size=32)),
}


@pytest.fixture(scope='module', params=PAIRS)
def model(request):
    base, motivated, options = PAIRS[request.param]
    return DualModel(base=classifier(base, **options), motivated=classifier(motivated, **options), extension='default')


def test_every_shared_tensor_has_one_rate_and_every_motivated_tensor_that_of_timm(model):
    scales = layer_scales(model.weight_map, 0.75)
    for name in ('base', 'motivated'):
        assert scales[name].keys() == dict(getattr(model, name).named_parameters()).keys()
    shared = [pair for pair in model.weight_map.pairs if pair.base in scales['base']]
    assert len(shared) == len(scales['base'])
    assert all(scales['base'][pair.base] == scales['motivated'][pair.motivated] for pair in shared)

    network = model.motivated.backbone
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = param_groups_layer_decay(network, layer_decay=0.75)
    timms = {f'backbone.{names[id(p)]}': group['lr_scale'] for group in groups for p in group['params']}
    assert scales['motivated'] == pytest.approx(timms)


def test_layers_of_the_base_model_are_in_its_own_order(model):
    base = layer_numbers(model.weight_map)['base']
    network = model.base.backbone
    own = timm.models.group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    by_own = sorted(own, key=own.__getitem__)
    numbers = [base[f'backbone.{name}'] for name in by_own]
    assert numbers == sorted(numbers)


def test_the_least_factor_and_the_table():
    model = small_dual_model()
    least = layer_scales(model.weight_map, 0.5, least=0.1)
    assert min(least['motivated'].values()) == min(least['base'].values()) == 0.1
    lines = table_of_scales(model.weight_map, 0.5)
    assert lines[0].split() == ['layer', 'motivated', 'tensor', 'rate', 'base', 'tensor', 'rate']
    assert lines[1].split() == ['0', 'backbone.conv1.weight', '0.000977', 'backbone.conv1.weight', '0.000977']
    assert lines[-1].split() == ['10', 'backbone.fc.bias', '1', 'backbone.fc.bias', '1']
    assert len(lines) == 1 + len(dict(model.motivated.named_parameters()))


def test_a_network_without_groups_is_refused():
    model = small_dual_model()
    model.motivated.backbone = torch.nn.Sequential()
    with pytest.raises(ConfigError, match=r'layer_decay needs layers, .* no group_matcher\(\)'):
        layer_numbers(model.weight_map)

import pytest
import timm
import torch
from torch import nn

from motivation.weight_maps import AutoMap, WeightMap, auto_map, weight_map, zero_extension
from motivation.weight_maps.residual import added_blocks
from motivation.weight_maps.tracing import trace
from tests.weight_maps.test_auto_map import FAMILIES, build

EXACT = [name for name, (*_, norms_grow) in FAMILIES.items() if not norms_grow]


def begin(family):
    (base, base_kwargs), (motivated, motivated_kwargs), side, _ = FAMILIES[family]
    size = (3, side, side)
    models = build(base, **base_kwargs), build(motivated, **motivated_kwargs)
    weight_map = AutoMap(*models, input_size=size)
    return (*models, weight_map, size)


@pytest.mark.parametrize('family', EXACT)
def test_motivated_model_begins_as_the_base_function_and_its_extension_learns(family):
    base, motivated, weight_map, size = begin(family)
    assert zero_extension(weight_map, size) == []
    images = torch.randn(4, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    base.double().train(), motivated.double().train()
    torch.testing.assert_close(motivated(images), base(images), rtol=1e-6, atol=1e-9)
    # After a few steps the extension has changed, so it does learn.
    optimizer = torch.optim.SGD(motivated.parameters(), lr=0.1)
    before = {name: tensor.clone() for name, tensor in motivated.named_parameters()}
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(motivated(images), torch.arange(4)).backward()
        optimizer.step()
    masks = weight_map.extension()
    moved = [
        (tensor != before[name])[masks[name]].any() for name, tensor in motivated.named_parameters() if name in masks
    ]
    assert sum(moved) >= 0.9 * len(moved)


@pytest.mark.parametrize('family', ['ViT, width', 'Swin, width', 'ConvNeXt, width'])
def test_norms_over_more_channels_are_reported(family):
    *_, weight_map, size = begin(family)
    (reason,) = zero_extension(weight_map, size)
    assert 'norms take their statistics over more channels' in reason


def test_base_model_does_not_change():
    base, _, weight_map, size = begin('EfficientNet, compound')
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    zero_extension(weight_map, size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def test_added_blocks_are_those_without_any_image():
    *_, weight_map, _ = begin('ResNet, basic blocks, depth')
    assert sorted(added_blocks(weight_map)) == [
        'layer1.1',
        'layer2.1',
        'layer2.2',
        'layer3.1',
        'layer3.2',
        'layer3.3',
        'layer4.1',
    ]


def test_block_without_a_residual_path_is_reported():
    def network(layers):
        return nn.Sequential(nn.Flatten(), nn.Sequential(*(nn.Linear(12, 12) for _ in range(layers))))

    weight_map = WeightMap(network(1), network(2), [(f'1.0.{name}', f'1.0.{name}') for name in ('weight', 'bias')])
    assert zero_extension(weight_map, (3, 2, 2)) == ["the added block '1.1' has no residual branch to begin at zero"]


def test_squeeze_and_excitation_after_the_last_norm():
    torch.manual_seed(0)
    base, motivated = (
        timm.create_model('seresnet18', num_classes=5, layers=layers) for layers in ((1, 1, 1, 1), (2, 2, 2, 2))
    )
    assert zero_extension(AutoMap(base, motivated, input_size=(3, 32, 32)), (3, 32, 32)) == []


def test_each_model_is_traced_once_for_map_and_extension(monkeypatch):
    traced = []
    for module in (auto_map, weight_map):
        monkeypatch.setattr(module, 'trace', lambda model, size: traced.append(model) or trace(model, size))
    base, motivated = (build('test_resnet') for _ in range(2))
    found = AutoMap(base, motivated, input_size=(3, 32, 32))
    assert zero_extension(found, (3, 32, 32)) == [] and traced == [base, motivated]
    zero_extension(found, (3, 32, 32))  # the model may have changed by now
    assert traced == [base, motivated, motivated]

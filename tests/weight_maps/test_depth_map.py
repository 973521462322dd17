import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

import motivation.models  # noqa: F401, registers cifar_resnet*
from motivation.errors import ConfigError
from motivation.weight_maps import DepthMap
from motivation.weight_maps.blocks import place_blocks


def build(name, **kwargs):
    return timm.create_model(name, num_classes=5, **kwargs)


def blocks_of(weight_map, stage):
    """Return the motivated block of each base block, from the names of the pairs."""
    return {
        int(pair.base.split('.')[1]): int(pair.motivated.split('.')[1])
        for pair in weight_map.pairs
        if pair.base.startswith(stage + '.')
    }


def test_leading_keeps_block_numbers():
    weight_map = DepthMap(build('cifar_resnet20'), build('cifar_resnet56'), placement='leading')
    assert blocks_of(weight_map, 'layer2') == {0: 0, 1: 1, 2: 2}


def test_spread_distributes_added_blocks_evenly():
    weight_map = DepthMap(build('cifar_resnet20'), build('cifar_resnet56'), placement='spread')
    assert blocks_of(weight_map, 'layer2') == {0: 0, 1: 3, 2: 6}


@given(base=st.integers(1, 30), added=st.integers(0, 30), placement=st.sampled_from(['leading', 'spread']))
def test_placement_keeps_order_stage_and_first_block(base, added, placement):
    images = place_blocks(base, base + added, placement)
    assert len(images) == base
    assert images[0] == 0
    assert images == sorted(set(images))
    assert images[-1] < base + added


def test_spread_gives_base_blocks_equal_shares():
    assert place_blocks(2, 6, 'spread') == [0, 3]
    assert place_blocks(3, 4, 'spread') == [0, 1, 2]
    assert place_blocks(4, 6, 'spread') == [0, 1, 3, 4]


# Number of equal parameters, counted by hand in the state dicts.
@pytest.mark.parametrize(
    ('base', 'motivated', 'parameters'),
    [('resnet18', 'resnet34', 62), ('resnet50', 'resnet101', 161), ('efficientnet_b0', 'efficientnet_b1', 213)],
)
def test_known_families_are_mapped(base, motivated, parameters):
    small = build(base)
    weight_map = DepthMap(small, build(motivated))
    names = {name for name, _ in small.named_parameters()}
    assert sum(pair.base in names for pair in weight_map.pairs) == parameters == len(names)


@pytest.mark.parametrize('placement', ['leading', 'spread'])
def test_motivated_model_computes_the_base_function_when_the_extension_adds_nothing(placement):
    torch.manual_seed(0)
    small, large = build('cifar_resnet8').double().eval(), build('cifar_resnet20').double().eval()
    for parameter in small.parameters():  # the last norms begin at zero, which would hide the blocks
        torch.nn.init.normal_(parameter, std=0.5)
    weight_map = DepthMap(small, large, placement)
    weight_map.transfer('base', statistics=True)
    with torch.no_grad():
        for name, tensor in weight_map.extension().items():
            if '.bn2.' in name:
                tensor.zero_()
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(large(image), small(image))


def test_vit_blocks_are_one_stage():
    small, large = build('test_vit'), build('test_vit', depth=9)
    weight_map = DepthMap(small, large, placement='spread')
    depth = len(small.blocks)
    assert blocks_of(weight_map, 'blocks') == {block: block * 9 // depth for block in range(depth)}


@pytest.mark.parametrize(
    ('base', 'motivated', 'message'),
    [
        ('resnet34', 'resnet18', r"its stage 'layer1' has 3 blocks and the motivated model's has 2; name the deeper"),
        ('resnet18', 'resnet50', r"'layer1\.0\.bn3\.weight' of the motivated model has no counterpart"),
        (
            'vit_tiny_patch16_224',
            'vit_small_patch16_224',
            r"'cls_token' is \(1, 1, 192\) in the base and \(1, 1, 384\)",
        ),
        ('cifar_resnet20', 'resnet18', r"'layer4\.0\.conv1\.weight' of the motivated model has no counterpart"),
    ],
)
def test_networks_that_do_not_fit_are_an_error(base, motivated, message):
    with pytest.raises(ConfigError, match=message):
        DepthMap(build(base), build(motivated))


def test_unknown_placement_is_an_error():
    with pytest.raises(ConfigError, match=r"^placement must be 'leading' or 'spread', got 'middle'$"):
        DepthMap(build('cifar_resnet8'), build('cifar_resnet20'), placement='middle')

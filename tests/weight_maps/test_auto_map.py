"""AutoMap on the families of timm: a map is correct if the motivated model computes the base model's function."""

import math
from functools import partial

import pytest
import timm
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

import motivation.models  # noqa: F401, registers cifar_resnet*
from motivation.errors import ConfigError
from motivation.weight_maps import AutoMap, verify
from motivation.weight_maps.verify import SENSITIVITY, TOLERANCE
from tests.untrained import untrained

VIT = dict(img_size=32, patch_size=16)
SHALLOW = dict(VIT, depth=2)
SWIN = dict(img_size=32, patch_size=2, window_size=4, depths=(2, 2), embed_dim=24, num_heads=(2, 4), drop_path_rate=0)
CONVNEXT = dict(patch_size=1, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


def build(name, **kwargs):
    torch.manual_seed(0)
    if name == 'mixer':  # timm's entry points fix the number of blocks
        return MlpMixer(**dict(num_classes=5, img_size=64, patch_size=16, num_blocks=2, embed_dim=32) | kwargs)
    if name == 'efficientnet':
        return efficientnet(**kwargs)
    return timm.create_model(name, num_classes=5, **kwargs)


def efficientnet(width=1.0, depth=1.0):
    """Return the first three stages of EfficientNet, scaled as B0 to B7 are."""
    stages = decode_arch_def([['ds_r1_k3_s1_e1_c16_se0.25'], ['ir_r2_k3_s2_e6_c24_se0.25'], ['ir_r2_k5_s2_e6_c40_se0.25']], depth)  # fmt: skip
    rounded = partial(round_channels, multiplier=width)
    return EfficientNet(stages, 5, num_features=rounded(128), round_chs_fn=rounded, act_layer=nn.SiLU)


RESNET = dict(channels=(8, 16, 24, 32))
DEEPER = dict(RESNET, layers=(2, 3, 4, 2))

# Base model, motivated model, image size, whether a LayerNorm gets more channels.
FAMILIES = {
    'ResNet, basic blocks, depth': (('resnet10t', RESNET), ('resnet10t', DEEPER), 32, False),
    'ResNet, bottlenecks, depth': (('resnet14t', RESNET), ('resnet14t', DEEPER), 32, False),
    'ResNet, width of bottlenecks': (('resnet14t', RESNET), ('resnet14t', dict(RESNET, base_width=128)), 32, False),
    'ResNet, compound': (('resnet10t', RESNET), ('resnet10t', dict(DEEPER, channels=(16, 24, 32, 40))), 32, False),
    'CIFAR ResNet, width': (('cifar_resnet8', {}), ('cifar_resnet20', dict(width=2)), 32, False),
    'SE-ResNet, depth': (('seresnet18', RESNET), ('seresnet34', RESNET), 32, False),
    'ResNeXt, width inside groups': (
        ('resnext50_32x4d', dict(channels=(32, 32, 64, 64), layers=(1, 1, 1, 1))),
        ('resnext50_32x4d', dict(channels=(32, 32, 64, 64), layers=(2, 1, 2, 1), base_width=8)), 32, False,
    ),
    'RegNet, more groups': (('regnetx_002', dict(depth=8)), ('regnetx_002', dict(depth=8, w0=48, wa=72.88)), 32, False),
    'EfficientNet, depth': (('efficientnet', {}), ('efficientnet', dict(depth=1.1)), 32, False),
    'EfficientNet, width': (('efficientnet', {}), ('efficientnet', dict(width=1.1)), 32, False),
    'EfficientNet, compound': (('efficientnet', {}), ('efficientnet', dict(width=1.2, depth=1.4)), 32, False),
    'MobileNetV2, width': (('mobilenetv2_050', {}), ('mobilenetv2_100', {}), 32, False),
    'MobileNetV3, width': (('mobilenetv3_small_075', {}), ('mobilenetv3_small_100', {}), 32, False),
    'ViT, depth': (('test_vit', VIT), ('test_vit', dict(VIT, depth=9)), 32, False),
    'ViT, width': (('vit_tiny_patch16_224', SHALLOW), ('vit_small_patch16_224', SHALLOW), 32, True),
    'ViT, compound': (('vit_tiny_patch16_224', SHALLOW), ('vit_small_patch16_224', dict(VIT, depth=4)), 32, True),
    'ViT, registers': (
        ('test_vit', dict(VIT, reg_tokens=2)),
        ('test_vit', dict(VIT, reg_tokens=2, depth=7, embed_dim=128, num_heads=4)), 32, True,
    ),
    'DeiT, distilled': (('deit_tiny_distilled_patch16_224', SHALLOW), ('deit_small_distilled_patch16_224', SHALLOW), 32, True),
    'DeiT3, LayerScale': (('deit3_small_patch16_224', SHALLOW), ('deit3_base_patch16_224', SHALLOW), 32, True),
    'EVA, separate biases': (
        ('eva02_tiny_patch14_224', dict(img_size=28, depth=2)),
        ('eva02_small_patch14_224', dict(img_size=28, depth=3)), 28, True,
    ),
    'ConvNeXt, depth': (
        ('convnext_atto', CONVNEXT),
        ('convnext_atto', dict(CONVNEXT, depths=(2, 2, 3, 1))), 32, False,
    ),
    'ConvNeXt, width': (('convnext_atto', CONVNEXT), ('convnext_atto', dict(CONVNEXT, dims=(12, 20, 32, 48))), 32, True),
    'Swin, depth': (('swin_tiny_patch4_window7_224', SWIN), ('swin_tiny_patch4_window7_224', dict(SWIN, depths=(2, 6))), 32, False),
    'Swin, width': (
        ('swin_tiny_patch4_window7_224', SWIN),
        ('swin_tiny_patch4_window7_224', dict(SWIN, embed_dim=48, num_heads=(4, 8))), 32, True,
    ),
    'Mixer, depth': (('mixer', {}), ('mixer', dict(num_blocks=4)), 64, False),
    'Mixer, compound': (('mixer', {}), ('mixer', dict(num_blocks=3, embed_dim=48)), 64, True),
}  # fmt: skip


@pytest.mark.parametrize('channels', ['leading', 'seeded'])
@pytest.mark.parametrize('family', FAMILIES)
def test_motivated_model_computes_the_base_function(family, channels):
    (base, base_kwargs), (motivated, motivated_kwargs), side, norms_grow = FAMILIES[family]
    size = (3, side, side)
    weight_map = AutoMap(
        build(base, **base_kwargs), build(motivated, **motivated_kwargs), channels=channels, input_size=size
    )
    verdict = verify(weight_map, size)
    assert verdict.error <= 1e-9 and verdict.round_trip
    assert (verdict.kind == 'norms apart') == norms_grow == bool(weight_map.grown_statistics)


@pytest.mark.parametrize('family', ['ResNeXt, width inside groups', 'EfficientNet, compound', 'ViT, compound'])
def test_channels_may_be_spread(family):
    (base, base_kwargs), (motivated, motivated_kwargs), side, norms_grow = FAMILIES[family]
    networks = build(base, **base_kwargs), build(motivated, **motivated_kwargs)
    weight_map = AutoMap(*networks, placement='spread', channels='spread', input_size=(3, side, side))
    verdict = verify(weight_map, (3, side, side))
    assert verdict.error <= 1e-9 and verdict.round_trip and (verdict.kind == 'norms apart') == norms_grow


def test_spread_channels_are_even_and_of_a_fused_qkv_whole_heads():
    tiny, small = (build(f'vit_{size}_patch16_224', **dict(SHALLOW, depth=1)) for size in ('tiny', 'small'))
    index = {pair.base: pair.index for pair in AutoMap(tiny, small, channels='spread', input_size=(3, 32, 32)).pairs}
    even = tuple(range(0, 384, 2))
    heads = [head * 64 + channel for head in (0, 2, 4) for channel in range(64)]  # 3 of 6
    assert index['norm.weight'] == (even,) and index['head.weight'] == (None, even)
    assert index['blocks.0.attn.qkv.weight'] == (tuple(part * 384 + row for part in range(3) for row in heads), even)
    assert index['blocks.0.attn.proj.weight'] == (even, tuple(heads))


@pytest.mark.parametrize(
    'family', ['ResNet, basic blocks, depth', 'EfficientNet, compound', 'Swin, depth', 'ViT, compound']
)
def test_blocks_may_be_spread(family):
    (base, base_kwargs), (motivated, motivated_kwargs), side, _ = FAMILIES[family]
    size = (3, side, side)
    weight_map = AutoMap(
        build(base, **base_kwargs), build(motivated, **motivated_kwargs), placement='spread', input_size=size
    )
    assert verify(weight_map, size).is_valid


def test_first_block_of_a_stage_is_the_image_of_the_first():
    for placement in ('leading', 'spread'):
        weight_map = AutoMap(
            build('efficientnet'),
            build('efficientnet', width=1.2, depth=1.4),
            placement=placement,
            input_size=(3, 32, 32),
        )
        blocks = {
            tuple(p.base.split('.')[1:3]): tuple(p.motivated.split('.')[1:3])
            for p in weight_map.pairs
            if p.base.startswith('blocks.')
        }
        assert all(stage == image[0] for (stage, _), image in blocks.items())
        assert all(blocks[stage, '0'] == (stage, '0') for stage, _ in blocks)
        assert len(set(blocks.values())) == len(blocks)


def test_fused_qkv_is_mapped_as_three_matrices_of_whole_heads():
    weight_map = AutoMap(*(build(name, **VIT, depth=1) for name in ('vit_tiny_patch16_224', 'vit_small_patch16_224')))
    rows, columns = next(pair.index for pair in weight_map.pairs if pair.base == 'blocks.0.attn.qkv.weight')
    assert rows == (*range(192), *range(384, 576), *range(768, 960))
    assert columns == tuple(range(192))


def test_seeded_channels_are_the_same_for_writers_and_readers():
    base, motivated = (build(name, **VIT, depth=1) for name in ('vit_tiny_patch16_224', 'vit_small_patch16_224'))
    index = {pair.base: pair.index for pair in AutoMap(base, motivated, channels='seeded', seed=3).pairs}
    stream = index['cls_token'][2]
    assert stream != tuple(range(192)) and list(stream) == sorted(set(stream))
    for name, dim in [('pos_embed', 2), ('patch_embed.proj.weight', 0), ('blocks.0.attn.qkv.weight', 1),
                      ('blocks.0.attn.proj.weight', 0), ('blocks.0.mlp.fc1.weight', 1), ('blocks.0.mlp.fc2.weight', 0),
                      ('norm.bias', 0), ('head.weight', 1)]:  # fmt: skip
        assert index[name][dim] == stream, name
    assert index['blocks.0.mlp.fc1.weight'][0] == index['blocks.0.mlp.fc2.weight'][1]
    heads = [rows // 64 for rows in index['blocks.0.attn.proj.weight'][1]]
    assert heads == sorted(heads) and all(heads.count(head) == 64 for head in set(heads))
    assert {pair.base: pair.index for pair in AutoMap(base, motivated, channels='seeded', seed=3).pairs} == index
    assert {pair.base: pair.index for pair in AutoMap(base, motivated, channels='seeded', seed=4).pairs} != index


@settings(max_examples=12, deadline=None)
@given(
    heads=st.tuples(st.integers(1, 3), st.integers(0, 3)),
    depth=st.tuples(st.integers(1, 3), st.integers(0, 2)),
    ratio=st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 1.0])),
    placement=st.sampled_from(['leading', 'spread']),
    channels=st.sampled_from(['leading', 'seeded']),
)
def test_vision_transformers_of_any_size_are_mapped(heads, depth, ratio, placement, channels):
    models = [
        build('test_vit', **VIT, num_heads=h, embed_dim=8 * h, depth=d, mlp_ratio=r)
        for h, d, r in ((heads[0], depth[0], ratio[0]), (sum(heads), sum(depth), sum(ratio)))
    ]
    weight_map = AutoMap(*models, placement=placement, channels=channels, input_size=(3, 32, 32))
    verdict = verify(weight_map, (3, 32, 32))
    assert verdict.is_valid
    assert (verdict.kind == 'exact') == (heads[1] == 0)


@settings(max_examples=12, deadline=None)
@given(
    channels=st.tuples(*[st.tuples(st.integers(1, 6), st.integers(0, 5))] * 4),
    layers=st.tuples(*[st.tuples(st.integers(1, 2), st.integers(0, 2))] * 4),
    block=st.sampled_from([BasicBlock, Bottleneck]),
    choice=st.sampled_from(['leading', 'seeded']),
)
def test_residual_networks_of_any_size_are_mapped(channels, layers, block, choice):
    def network(grown):
        widths, depths = ([a + grown * b for a, b in pairs] for pairs in (channels, layers))
        return ResNet(block, depths, channels=widths, num_classes=4, stem_type='deep', stem_width=widths[0])

    base, motivated = network(0), network(1)
    try:
        weight_map = AutoMap(base, motivated, channels=choice, input_size=(3, 32, 32))
    except ConfigError:
        # A shortcut is a convolution where the number of channels changes, which may differ between the models.
        shortcuts = [
            [stage[0].downsample is None for stage in (m.layer1, m.layer2, m.layer3, m.layer4)]
            for m in (base, motivated)
        ]
        assert shortcuts[0] != shortcuts[1]
    else:
        verdict = verify(weight_map, (3, 32, 32))
        assert verdict.error <= TOLERANCE and verdict.round_trip
        assume(verdict.sensitivity >= SENSITIVITY)  # networks of one or two channels may be born dead
        assert verdict.is_valid


@pytest.mark.parametrize(
    ('base', 'motivated', 'message'),
    [
        (('resnet18', {}), ('resnet50', {}), r"'layer1\.0\.bn3\.weight' of the motivated model has no counterpart in the base model \(BasicBlock in the base, Bottleneck"),
        (('resnet34', {}), ('resnet18', {}), r"its stage 'layer1' has 3 blocks and the motivated model's has 2"),
        (('convnext_nano', {}), ('convnext_tiny', {}), r"'stages\.0\.blocks\.0\.norm\.weight' .*\(LayerNorm2d in the base, LayerNorm in"),
        (('convnext_tiny', dict(depths=(1, 1, 1, 1))), ('convnext_tiny', dict(depths=(1, 1, 1, 1), conv_mlp=True)), r'LayerNorm in the base, LayerNorm2d in'),
        (('mobilenetv3_small_100', {}), ('mobilenetv3_large_100', {}), r"'blocks\.0\.0\.se\.conv_reduce\.weight' of the base model has no counterpart"),
        (('mobilenetv3_small_050', {}), ('mobilenetv3_small_100', {}), r"step 1 of 'blocks\.3\.0' is add\(\) in the base model, .* nothing in the motivated"),
        (('regnetx_002', {}), ('regnetx_004', {}), r"'s1\.b1\.conv1\.conv\.weight', dimension 0 is 3 in the base and only 2"),
        (('vit_small_patch16_224', dict(VIT, depth=1)), ('vit_tiny_patch16_224', dict(VIT, depth=1)), r"of 'cls_token', dimension 2 is 384 in the base and only 192 .*name the wider network"),
        (('test_vit', dict(VIT, num_heads=2)), ('test_vit', dict(VIT, num_heads=1)), r'in the base and only 1 in the motivated'),
        (('test_vit', dict(VIT, embed_dim=64, num_heads=2)), ('test_vit', dict(VIT, embed_dim=128, num_heads=2)), r"'blocks\.0\.attn\.qkv\.weight', dimension 0 is 32 in the base and 64 .*same in both \(head width\)"),
        (('test_vit', VIT), ('test_vit', dict(VIT, img_size=48)), r"step 2 of 'the network' is cat\(1\) in the base model, .* slice in the motivated"),
        (('densenet121', {}), ('densenet169', {}), r"'features\.transition3\.norm\.weight', dimension 0 is 1024 .*arranged differently"),
        (('test_resnet', {}), ('test_resnet', dict(act_layer=nn.SiLU)), r"is relu_\(\) in the base model, .* silu_\(\) in the motivated"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit_are_an_error(base, motivated, message):
    with pytest.raises(ConfigError, match=message):
        with untrained():
            networks = build(base[0], **base[1]), build(motivated[0], **motivated[1])
        AutoMap(*networks)


def test_another_number_of_classes_is_an_error():
    with pytest.raises(ConfigError, match=r"of 'fc\.weight', dimension 0 is 5 .* and 6 .*same in both"):
        AutoMap(build('cifar_resnet8'), timm.create_model('cifar_resnet20', num_classes=6))


def test_shifted_windows_on_unshifted_ones_are_an_error():
    """Shapes match, but every other block of Swin shifts its windows, and spread maps block 1 to block 2."""
    base, motivated = (
        build('swin_tiny_patch4_window7_224', **SWIN | dict(depths=depths)) for depths in ((2, 2), (4, 4))
    )
    with pytest.raises(ConfigError, match=r"of 'layers\.0\.blocks\.1' is roll.* 'layers\.0\.blocks\.2'"):
        AutoMap(base, motivated, placement='spread', input_size=(3, 32, 32))


def test_more_channels_in_an_unknown_operator_are_an_error():
    class Sorted(nn.Module):
        input_size = (3, 4, 4)

        def __init__(self, width, classes=2):
            super().__init__()
            self.one, self.two = nn.Linear(48, width), nn.Linear(width, classes)

        def forward(self, images):
            return self.two(self.one(images.flatten(1)).sort(dim=1).values)

    AutoMap(Sorted(6), Sorted(6))
    with pytest.raises(
        ConfigError, match=r"'one\.weight', dimension 0 is 6 .* and 8 .*same in both \(operator 'sort'\)"
    ):
        AutoMap(Sorted(6), Sorted(8))


def test_building_a_map_does_not_change_the_models():
    base, motivated = build('test_efficientnet'), build('test_efficientnet')
    base.train()
    base.bn1.eval()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    random_state = torch.get_rng_state()
    AutoMap(base, motivated)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert base.training and not base.bn1.training and base.conv_stem.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    assert not base._forward_hooks and not nn.modules.module._global_forward_hooks


def test_coverage_is_the_share_of_the_motivated_parameters():
    base, motivated = build('cifar_resnet8'), build('cifar_resnet20')
    weight_map = AutoMap(base, motivated)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (base, motivated)]
    assert weight_map.extension_size == sizes[1] - sizes[0]
    assert math.isclose(weight_map.coverage, sizes[0] / sizes[1])


@pytest.mark.parametrize(('field', 'value'), [('placement', 'middle'), ('channels', 'random')])
def test_unknown_choices_are_an_error(field, value):
    with pytest.raises(ConfigError, match=rf"^{field} must be '.*, got '{value}'"):
        AutoMap(build('cifar_resnet8'), build('cifar_resnet20'), **{field: value})


def test_unknown_image_size_is_an_error():
    with pytest.raises(ConfigError, match=r'images that Linear takes is not known; give AutoMap an input_size'):
        AutoMap(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(
        ConfigError, match=r'Linear does not run on images of \(3, 5, 5\): .*give weight_map\.input_size'
    ):
        AutoMap(nn.Linear(2, 2), nn.Linear(2, 2), input_size=(3, 5, 5))


class Toy(nn.Module):
    """A module of given parts and a forward function."""

    input_size = (3, 4, 4)

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, images):
        return self.run(self, images)


def test_block_without_a_residual_path_is_an_error():
    def network(blocks):
        body = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()) for _ in range(blocks)))
        return Toy(lambda net, x: net.head(net.body(x).flatten(1)), body=body, head=nn.Linear(48, 2))

    with pytest.raises(ConfigError, match=r"'body\.1', which the motivated model adds, has no residual path.*DepthMap"):
        AutoMap(network(1), network(2))


@pytest.mark.parametrize(
    ('statistic', 'operator'),
    [
        (lambda x: x.mean(1, keepdim=True), 'mean'),
        (lambda x: x.softmax(1), '_softmax'),
        (lambda x: x.amax(1, keepdim=True), 'amax'),
    ],
)
def test_statistics_over_more_channels_outside_of_norms_are_an_error(statistic, operator):
    def network(width):
        return Toy(
            lambda net, x: net.head((net.stem(x) * statistic(net.stem(x))).flatten(1)),
            stem=nn.Conv2d(3, width, 1), head=nn.Linear(16 * width, 2),
        )  # fmt: skip

    assert verify(AutoMap(network(4), network(4)), (3, 4, 4)).is_valid
    with pytest.raises(
        ConfigError, match=rf"'stem\.weight', dimension 0 is 4 .*same in both \(operator '{operator}' over it\)"
    ):
        AutoMap(network(4), network(6))


def test_sums_over_more_channels_are_exact():
    def network(width):
        return Toy(
            lambda net, x: net.head(nn.functional.normalize(net.stem(x.flatten(1)))) * net.stem(x.flatten(1)).sum(1, keepdim=True),
            stem=nn.Linear(48, width), head=nn.Linear(width, 2),
        )  # fmt: skip

    assert verify(AutoMap(network(4), network(6)), (3, 4, 4)).kind == 'exact'


def test_scales_that_depend_on_the_width_are_an_error():
    """Equalised learning rates scale by the number of weights, with constants in code or in buffers."""

    def scaled(width):
        return Toy(
            lambda net, x: nn.functional.linear(x.flatten(1), net.stem.weight * width**-0.5) @ net.head,
            stem=nn.Linear(48, width), head=nn.Parameter(torch.randn(width, 2)),
        )  # fmt: skip

    def buffered(width):
        net = Toy(
            lambda net, x: net.head(net.stem(x.flatten(1)) * net.scale),
            stem=nn.Linear(48, width),
            head=nn.Linear(width, 2),
        )
        net.register_buffer('scale', torch.tensor(width**-0.5), persistent=False)
        return net

    for network in (scaled, buffered):
        with pytest.raises(
            ConfigError, match=r"step \d+ of 'the network' is mul.* in the base model, .* mul.* in the motivated"
        ):
            AutoMap(network(4), network(6))


@pytest.mark.parametrize('channels', ['leading', 'seeded'])
def test_one_head_is_mapped_into_several(channels):
    def network(heads):
        def run(net, x):
            x = net.embed(x.flatten(2).transpose(1, 2))
            q, k, v = (part(x).view(len(x), -1, heads, 8).transpose(1, 2) for part in (net.q, net.k, net.v))
            mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return net.head((x + net.out(mixed)).mean(1))

        width = 8 * heads
        parts = {name: nn.Linear(width, width) for name in ('q', 'k', 'v', 'out')}
        return Toy(run, embed=nn.Linear(3, width), head=nn.Linear(width, 2), **parts)

    assert verify(AutoMap(network(1), network(2), channels=channels), (3, 4, 4)).kind == 'exact'


def test_torch_attention_and_gates_are_mapped():
    def mix(net, x):
        return net.mix(x, x, x, need_weights=False)[0]

    def network(width):
        return Toy(
            lambda net, x: net.head(nn.functional.glu(net.gate(net.act(mix(net, net.embed(x.flatten(2).transpose(1, 2)))))).mean(1)),
            embed=nn.Linear(3, width), mix=nn.MultiheadAttention(width, width // 4, batch_first=True), act=nn.PReLU(),
            gate=nn.Linear(width, 2 * width), head=nn.Linear(width, 2),
        )  # fmt: skip

    assert verify(AutoMap(network(8), network(12)), (3, 4, 4)).kind == 'exact'


def test_tied_parameters_have_one_space():
    def network(width):
        net = Toy(lambda net, x: net.head(net.down(net.up(x.flatten(1)).relu())), up=nn.Linear(48, width), down=nn.Linear(width, 48), head=nn.Linear(48, 2))  # fmt: skip
        net.again = net.up
        net.down.weight = nn.Parameter(net.up.weight.detach().t().clone())
        return net

    assert verify(AutoMap(network(4), network(6)), (3, 4, 4)).is_valid

    def autoencoder(width):
        net = Toy(
            lambda net, x: net.head(net.two(net.one(x.flatten(1)).relu())),
            one=nn.Linear(48, 48),
            two=nn.Linear(48, 48),
            head=nn.Linear(48, width),
        )
        net.two.weight = net.one.weight
        return net

    assert verify(AutoMap(autoencoder(2), autoencoder(2)), (3, 4, 4)).is_valid


def test_memory_layout_does_not_matter():
    base, motivated = build('cifar_resnet8').to(memory_format=torch.channels_last), build('cifar_resnet20', width=2)
    weight_map = AutoMap(base, motivated, channels='seeded')
    assert verify(weight_map, (3, 32, 32)).is_valid

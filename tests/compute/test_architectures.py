"""The two counters, fvcore with our handles and dispatch, agree on the families of timm."""

import pytest
import timm
import torch
from torch import nn

from motivation.compute.forward_macs import count_forward
from motivation.compute.step_macs import dispatch_forward
from tests.untrained import untrained

# A small variant of each family and the side of a small image that it accepts.
ARCHITECTURES = {
    'beit_base_patch16_224': 32, 'botnet26t_256': 64, 'cait_xxs24_224': 32, 'coat_lite_tiny': 64, 'coatnet_pico_rw_224': 224,
    'convit_tiny': 32, 'convmixer_768_32': 32, 'convnext_atto': 32, 'convnextv2_atto': 32, 'crossvit_tiny_240': 240,
    'cs3darknet_s': 64, 'cspnext_tiny': 32, 'davit_tiny': 64, 'deit_tiny_distilled_patch16_224': 32, 'densenet121': 32,
    'dla34': 32, 'dpn48b': 32, 'edgenext_xx_small': 64, 'efficientformer_l1': 224, 'efficientnet_b0': 32,
    'efficientvit_b0': 64, 'eva02_tiny_patch14_224': 28, 'fasternet_t0': 64, 'fastvit_t8': 64, 'focalnet_tiny_srf': 64,
    'gcvit_xxtiny': 224, 'ghostnet_050': 32, 'hardcorenas_a': 32, 'hgnet_tiny': 64,
    'hrnet_w18_small': 32, 'inception_next_atto': 64, 'lambda_resnet26t': 64, 'lcnet_035': 32, 'levit_128s': 224,
    'mambaout_femto': 64, 'mixer_s32_224': 224, 'mobilenetv3_small_050': 32, 'mobilenetv4_conv_small_050': 32,
    'mobilevit_xxs': 64, 'mobilevitv2_050': 64, 'mvitv2_tiny': 64, 'nest_tiny': 224,
    'nextvit_small': 64, 'pit_ti_224': 224, 'poolformer_s12': 64, 'pvt_v2_b0': 64, 'regnetx_002': 32,     'regnetz_b16': 32, 'repghostnet_050': 32, 'repvit_m0_9': 32, 'resnest14d': 64,
    'resnetv2_50': 32, 'rexnet_100': 32, 'sequencer2d_s': 14, 'seresnet18': 32, 'skresnet18': 32, 'swiftformer_xs': 64,
    'swin_tiny_patch4_window7_224': 56, 'test_nfnet': 32, 'test_resnet': 32, 'test_vit': 32,
    'tiny_vit_5m_224': 224, 'tresnet_m': 64, 'twins_pcpvt_small': 224, 'visformer_tiny': 224,
    'xcit_nano_12_p16_224': 224, 'ese_vovnet19b_slim': 32, 'starnet_s1': 32, 'shvit_s1': 64, 'iformer_t': 64,
}  # fmt: skip

# Fewer or narrower blocks, where they are not repeated.
SMALLER = {
    'beit_base_patch16_224': dict(embed_dim=64, num_heads=2), 'coat_lite_tiny': dict(serial_depths=(1, 1, 1, 1)),
    'cspnext_tiny': dict(depths=(1, 1, 1, 1)), 'densenet121': dict(block_config=(2, 3, 2, 3)),
    'dpn48b': dict(k_sec=(2, 2, 2, 2)), 'efficientvit_b0': dict(depths=(1, 1, 1, 1)),
    'fastvit_t8': dict(layers=(1, 1, 1, 1)), 'levit_128s': dict(depth=(1, 1, 1)),
    'pvt_v2_b0': dict(depths=(1, 1, 1, 1)), 'repvit_m0_9': dict(depth=(1, 1, 1, 1)),
}  # fmt: skip
WHOLE = {'hgnet_tiny'}  # whose blocks concatenate the results of their layers


def build(name, side):
    kwargs = dict(num_classes=10, **SMALLER.get(name, {}))
    try:
        network = timm.create_model(name, img_size=side, **kwargs)
    except TypeError:  # a convolutional network, which takes any size
        network = timm.create_model(name, **kwargs)
    return network if name in WHOLE else shortened(network)


def shortened(network):
    """Keep two of the blocks of a stage that have the same layers of the same shapes."""
    for stage in [module for module in network.modules() if isinstance(module, (nn.Sequential, nn.ModuleList))]:
        kept = []
        for name, block in list(stage.named_children()):
            layout = [*map(type, block.modules())], [tensor.shape for tensor in block.state_dict().values()]
            if any(block.children()) and kept.count(layout) == 2:
                delattr(stage, name)
            else:
                kept.append(layout)
    return network


@pytest.mark.parametrize(('name', 'side'), ARCHITECTURES.items())
def test_fvcore_equals_the_dispatcher(name, side):
    with untrained():
        network, images = build(name, side).eval(), torch.zeros(1, 3, side, side)
    traced = count_forward(network, images)
    assert traced.total > 0
    assert traced.total == dispatch_forward(network, images).forward


def test_there_are_at_least_sixty_families():
    modules = {timm.models._registry._model_to_module[name] for name in ARCHITECTURES}
    assert len(ARCHITECTURES) >= 60 and len(modules) >= 50

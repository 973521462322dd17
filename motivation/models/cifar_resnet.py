"""3-stage ResNets for 32 x 32 images, registered with timm.

Source: He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2: a
3 x 3 convolution, then three stages of (depth - 2) / 6 basic blocks with 16, 32 and 64 channels. The
shortcut between stages is a 1 x 1 convolution (option B of the paper).
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

_CHANNELS = (16, 32, 64)


class CifarResNet(ResNet):
    """A timm ResNet with the stem and the three stages of the CIFAR networks.

    Args:
        depth: Number of weight layers along the main path, 6 n + 2 for n blocks per stage.
        width: Factor on the channels of the stages, which are 16, 32 and 64. Default: 1.
        **kwargs: Further arguments of :class:`timm.models.resnet.ResNet`.

    Raises:
        ValueError: ``depth`` is not 6 n + 2, or ``width`` is below 1.
    """

    def __init__(self, depth: int, width: int = 1, **kwargs: Any) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f'depth must be 6 n + 2 with n >= 1: 8, 14, 20, 26, ..., got {depth}')
        if width < 1:
            raise ValueError(f'width must be at least 1, got {width}')
        channels = tuple(width * count for count in _CHANNELS)
        # The deep stem, replaced below, makes timm build the first norm as wide as the first stage.
        super().__init__(
            BasicBlock,
            layers=(blocks,) * 3,
            channels=channels,
            stem_type='deep',
            stem_width=channels[0] // 2,
            **kwargs,
        )
        self.conv1 = nn.Conv2d(self.in_chans, channels[0], 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode='fan_out', nonlinearity='relu')
        self.maxpool = nn.Identity()
        self.layer4 = nn.Identity()
        for stage, reduction in zip(self.feature_info, (1, 1, 2, 4), strict=True):
            stage['reduction'] = reduction


# Named so that timm's register_model finds it.
default_cfgs = generate_default_cfgs(
    {
        f'cifar_resnet{depth}': {
            'input_size': (3, 32, 32),
            # Channel means and standard deviations of the CIFAR-10 training images.
            'mean': (0.4914, 0.4822, 0.4465),
            'std': (0.2470, 0.2435, 0.2616),
            'interpolation': 'bicubic',
            'crop_pct': 1.0,
            'num_classes': 1000,
            'first_conv': 'conv1',
            'classifier': 'fc',
        }
        for depth in (8, 20, 32, 44, 56, 110)
    }
)


def _create(depth: int, pretrained: bool, kwargs: dict[str, Any]) -> CifarResNet:
    return build_model_with_cfg(CifarResNet, f'cifar_resnet{depth}', pretrained, depth=depth, **kwargs)


@register_model
def cifar_resnet8(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 for 32 x 32 images."""
    return _create(8, pretrained, kwargs)


@register_model
def cifar_resnet20(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-20 for 32 x 32 images: 272,474 parameters with 10 classes."""
    return _create(20, pretrained, kwargs)


@register_model
def cifar_resnet32(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-32 for 32 x 32 images."""
    return _create(32, pretrained, kwargs)


@register_model
def cifar_resnet44(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-44 for 32 x 32 images."""
    return _create(44, pretrained, kwargs)


@register_model
def cifar_resnet56(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-56 for 32 x 32 images."""
    return _create(56, pretrained, kwargs)


@register_model
def cifar_resnet110(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-110 for 32 x 32 images."""
    return _create(110, pretrained, kwargs)

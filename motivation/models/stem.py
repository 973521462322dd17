"""Adapting stems made for 224 px images to 32 px."""

from typing import Any

from torch import nn

from motivation.errors import ConfigError


def adapt_stem(backbone: Any, model_name: str) -> None:
    """Replace the first layers of a network in place, so that they do not downsample 32 px images.

    ResNets get a 3 x 3 convolution of stride 1 and no pooling; networks with a ``conv_stem`` (EfficientNet,
    MobileNet) get stride 1.

    Args:
        backbone: A timm model.
        model_name: Name of the model for the error message.

    Raises:
        ConfigError: The network has another kind of stem.
    """
    if isinstance(getattr(backbone, 'conv_stem', None), nn.Conv2d):
        backbone.conv_stem.stride = (1, 1)
    elif isinstance(getattr(backbone, 'conv1', None), nn.Conv2d) and hasattr(backbone, 'maxpool'):
        old = backbone.conv1
        if old.kernel_size != (3, 3) or old.stride != (1, 1):
            backbone.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(backbone.conv1.weight, mode='fan_out', nonlinearity='relu')
        backbone.maxpool = nn.Identity()
    else:
        raise ConfigError(
            f"stem='cifar' supports ResNet and conv_stem networks, not {model_name!r}; leave stem out and give the "
            'arguments of the network instead (ViT: img_size=32, patch_size=4; ConvNeXt: patch_size=1; '
            'Swin: img_size=32, patch_size=2, window_size=4)'
        )

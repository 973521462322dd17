"""Registers torchvision's transforms (v2) by class name."""

import torch
from torchvision.transforms import v2

from motivation.registry import TRANSFORMS

for _name in dir(v2):
    _transform = getattr(v2, _name)
    if isinstance(_transform, type) and issubclass(_transform, torch.nn.Module) and _name != 'Transform':
        TRANSFORMS.register_module(name=_name, module=_transform)

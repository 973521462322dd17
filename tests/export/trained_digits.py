"""A model that has learned the digits, to export."""

from functools import cache

import torch

from motivation.datasets import DigitsDataset
from motivation.export.deployable import Deployable
from motivation.models import TimmClassifier


def digits(split):
    """Return all images (N, 1, 8, 8) and classes (N,) of a split."""
    source = DigitsDataset(split).source
    return source.images, torch.as_tensor(source.targets)


@cache
def trained_digits(raw_input=False):
    """Return a model of about 95 % accuracy, with the description that a run gives it."""
    if raw_input:
        return Deployable(trained_digits().model, raw_input)
    torch.manual_seed(0)
    model = TimmClassifier('cifar_resnet8', num_classes=10, in_chans=1, mean=[0.3054], std=[0.3760])
    images, targets = digits('train')
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(3):
        for batch in torch.randperm(len(images)).split(64):
            inputs = model.data_preprocessor({'inputs': images[batch]})['inputs']
            torch.nn.functional.cross_entropy(model(inputs), targets[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.metainfo = {
        'classes': [str(digit) for digit in range(10)],
        'input_size': [1, 8, 8],
        'transforms': [],
        'image_mode': 'L',
        'mean': [0.3054],
        'std': [0.3760],
    }
    return Deployable(model.eval())

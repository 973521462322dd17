"""Choosing models, sizes and lengths for images that have been looked at."""

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import timm
import torch
from mmengine.device import get_device
from torch import nn

from motivation.config.build import build
from motivation.errors import ConfigError
from motivation.first_config.data import Data
from motivation.first_config.look import Look
from motivation.models import DualModel
from motivation.registry import MODELS
from motivation.utils.memory import free_memory

# Image sizes in pixels, and the pair for each: from the one whose size is nearest to the images' short side.
_PAIRS = {
    32: ('cifar_resnet20', 'cifar_resnet56'),
    64: ('resnet18', 'resnet34'),
    128: ('resnet18', 'resnet34'),
    224: ('resnet18', 'resnet34'),
}

# Largest size at which a stem that divides it by four leaves too little.
_SMALL = 40

# Batches that a run should train on, within these numbers of epochs; the study of configs/evidence trains on more.
_BATCHES, _EPOCHS = 3000, (30, 120)

# Sizes of a batch, and in how many an epoch is divided at least.
_BATCH_SIZES, _DIVIDED = (128, 64, 32, 16, 8), 8

# Bytes of memory where it is not known how much is free, and the share of it that a batch may take.
_MEMORY, _SHARE = 4 * 2**30, 0.5

# How often the largest class may be as large as the smallest before the classes count as unbalanced.
UNBALANCED = 2.0


@dataclass
class Plan:
    """The choices of a config.

    Attributes:
        models: timm names of the base and the motivated model.
        model: The field ``model``.
        built: The two models and their map.
        image_size: Side of the images that the models get, in pixels.
        batch_size: Images a batch.
        epochs: Number of epochs.
        has_adam: Whether AdamW trains the models, as it does transformers, or SGD.
        learning_rate: Learning rate.
        counts: Number of training images of each class.
        memory: Bytes that a training step of the motivated model keeps for each image.
        seconds: Seconds that the base and the motivated model take for an image of a training step on this processor.
    """

    models: tuple[str, str]
    model: dict[str, Any]
    built: DualModel
    image_size: int
    batch_size: int
    epochs: int
    has_adam: bool
    learning_rate: float
    counts: list[int]
    memory: float
    seconds: tuple[float, float]

    @property
    def imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest that has any."""
        return max(self.counts) / max(min(count for count in self.counts if count), 1)

    @property
    def has_few(self) -> bool:
        """Whether there are so few images that even the smallest batches leave an epoch fewer than it should have."""
        return sum(self.counts) < _BATCH_SIZES[-1] * _DIVIDED

    @property
    def batches(self) -> int:
        """The number of batches of an epoch."""
        return math.ceil(sum(self.counts) / self.batch_size)


def make_plan(
    data: Data,
    look: Look,
    models: tuple[str, str] | None = None,
    image_size: int | None = None,
    epochs: int | None = None,
) -> Plan:
    """Choose what suits the images, and build both models and their map.

    Args:
        data: The images that were found.
        look: What they look like.
        models: timm names of the base and the motivated model; by default a pair for the image size.
        image_size: Side of the images that the models get, in pixels; by default that of the pairs which is nearest to
            the median of the images' short sides.
        epochs: Number of epochs; by default those that have about 3,000 batches.

    Raises:
        ConfigError: No image can be read, a model is unknown, or the pair does not fit.
    """
    if not look.count:
        raise ConfigError(f'none of {len(look.unreadable):,} images can be read, such as {look.unreadable[0]!r}')
    size = image_size or min(_PAIRS, key=lambda known: abs(math.log(known / look.short_side)))
    names = models or _PAIRS[max((known for known in _PAIRS if known <= size), default=32)]
    model = {
        'type': 'DualModel',
        **{
            which: _classifier(name, len(data.classes), size, look)
            for which, name in zip(('base', 'motivated'), names, strict=True)
        },
        'weight_map': dict(type='AutoMap'),
    }
    try:
        built = build(MODELS, model, 'model')
    except ConfigError as error:
        raise ConfigError(f'--models {" ".join(names)} make no pair for {size} px: {error}') from error
    counts = [Counter(data.train.labels)[label] for label in range(len(data.classes))]
    memory, seconds = _measure(built, size)
    free = free_memory(torch.device(get_device())) or _MEMORY
    fits = [batch for batch in _BATCH_SIZES if batch * memory < _SHARE * free and batch * _DIVIDED <= sum(counts)]
    batch_size = fits[0] if fits else min(_BATCH_SIZES[-1], sum(counts))
    length = epochs or min(max(round(_BATCHES / math.ceil(sum(counts) / batch_size)), _EPOCHS[0]), _EPOCHS[1])
    has_adam = any(isinstance(module, nn.LayerNorm) for module in built.modules())
    # The rates of configs/_base_/schedules, which are for batches of 128, scaled with the batch.
    rate = (1e-3 if has_adam else 0.1) * batch_size / 128
    return Plan(names, model, built, size, batch_size, length, has_adam, rate, counts, memory, seconds)


def _classifier(name: str, num_classes: int, size: int, look: Look) -> dict[str, Any]:
    """Return the config of a model for images of a size."""
    config: dict[str, Any] = dict(type='TimmClassifier', model_name=name, num_classes=num_classes)
    pretrained = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if pretrained is not None and pretrained.fixed_input_size:
        config['img_size'] = size
    if look.is_grey:
        config |= dict(in_chans=1, mean=look.mean, std=look.std)
    if size <= _SMALL and not name.startswith('cifar_'):
        try:
            MODELS.build({**config, 'stem': 'cifar'})
        except ConfigError:  # there is no such stem of this network, or no such network
            return config
        config['stem'] = 'cifar'
    return config


def _measure(built: DualModel, size: int, images: int = 8) -> tuple[float, tuple[float, float]]:
    """Return the bytes that the motivated model keeps for an image, and the seconds of a step of each model for it."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def step(model: Any) -> float:
        batch = model.example_batch(images)
        channels = batch['inputs'].shape[1]
        batch['inputs'] = torch.randint(256, (images, channels, size, size), dtype=torch.uint8)
        begun = time.perf_counter()
        model(**model.data_preprocessor(batch, True), mode='loss')['loss'].backward()
        return time.perf_counter() - begun

    weights = {parameter.untyped_storage().data_ptr() for parameter in built.motivated.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step(built.motivated)
    base = min(step(built.base) for _ in range(3)) / images  # the first is slower
    seconds = base, min(step(built.motivated) for _ in range(2)) / images
    return sum(size for place, size in kept.items() if place not in weights) / images, seconds

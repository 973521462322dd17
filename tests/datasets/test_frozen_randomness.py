import random

import numpy as np
import pytest
import torch

from motivation.datasets import DeviceImages
from motivation.datasets.frozen_randomness import read_samples
from motivation.datasets.image_dataset import ImageDataset
from motivation.errors import ConfigError
from motivation.registry import TRANSFORMS


class Noise:
    """Adds noise of a random source to images whose first level is at least ``above``."""

    above = 0

    def __call__(self, image):
        return (
            image ^ torch.from_numpy(self.draw(tuple(image.shape))).to(torch.uint8)
            if image[0, 0, 0] >= self.above
            else image
        )


@TRANSFORMS.register_module(force=True)
class NumpyNoise(Noise):
    def draw(self, shape):
        return np.random.randint(0, 8, shape)


@TRANSFORMS.register_module(force=True)
class PythonNoise(Noise):
    above = 20  # so that only a few draw

    def draw(self, shape):
        return np.full(shape, random.randrange(8))


@TRANSFORMS.register_module(force=True)
class OwnNoise(Noise):
    def __init__(self):
        self.generator = np.random.default_rng(0)

    def draw(self, shape):
        return self.generator.integers(0, 8, shape)


@TRANSFORMS.register_module(force=True)
class FreshNoise(Noise):
    def draw(self, shape):
        return np.random.default_rng().integers(0, 8, shape)


@TRANSFORMS.register_module(force=True)
class Undefined:
    def __call__(self, image):
        return image / 0 * 0  # not a number, which does not equal itself


INVERT, RESIZE = dict(type='RandomInvert', p=1.0), dict(type='Resize', size=[4, 4])


def dataset_of(*transforms):
    return ImageDataset(
        [(torch.full((3, 8, 8), level, dtype=torch.uint8), 0) for level in range(24)], ['a'], transforms
    )


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('kind', ['NumpyNoise', 'PythonNoise', 'OwnNoise', 'FreshNoise', 'RandomRotation'])
def test_transform_that_would_be_frozen_is_refused_alone_where_it_is_applied(kind, workers):
    noise = dict(type=kind, degrees=20) if kind == 'RandomRotation' else dict(type=kind)
    with pytest.raises(
        ConfigError,
        match=rf"^transforms \({kind}\) draw random numbers, and .* BATCH_TRANSFORMS, .*write type='D",
    ):
        DeviceImages(dataset_of(RESIZE, noise), {}, 'cpu').load(num_workers=workers)


@pytest.mark.parametrize('kind', ['NumpyNoise', 'OwnNoise', 'FreshNoise'])
def test_only_the_random_transform_is_named(kind):
    with pytest.raises(ConfigError, match=rf'^transforms \({kind}\) draw'):
        DeviceImages(dataset_of(RESIZE, dict(type=kind), dict(type='CenterCrop', size=[2, 2])), {}, 'cpu').load()
    with pytest.raises(ConfigError, match=rf'^transforms \({kind}\) draw'):
        DeviceImages(dataset_of(RESIZE, dict(type=kind)), {}, 'cpu')[3]


def test_samples_that_are_not_random_are_kept_even_if_they_are_no_numbers():
    samples, clause = read_samples(dataset_of(RESIZE, dict(type='Undefined')), [0, 5])
    assert clause == '' and len(samples) == 2 and samples[0]['inputs'].isnan().all()

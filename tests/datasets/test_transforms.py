"""Every transform of torchvision, built by name from the plain values of a config."""

import pickle

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from motivation.config.components import check_components
from motivation.datasets import ImageDataset
from motivation.datasets.transforms import REFUSED, ToTensor
from motivation.errors import ConfigError
from motivation.registry import TRANSFORMS
from tests.conftest import classifier

MODEL = dict(type='DualModel', base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'))
FLIP = dict(type='RandomHorizontalFlip', p=1.0)
IDENTITY = [[float(row == column) for column in range(3 * 4 * 4)] for row in range(3 * 4 * 4)]

# Arguments of each transform, as plain values; () if it needs none.
EVERY = {
    'AugMix': dict(severity=2, interpolation='nearest', fill=[0, 0, 0]),
    'AutoAugment': dict(policy='cifar10', interpolation='bilinear', fill={'Image': 3, 'others': 0}),
    'CenterCrop': dict(size=[16, 16]),
    'ColorJitter': dict(brightness=0.4, contrast=[0.5, 1.5], hue=0.1),
    'Compose': dict(transforms=[FLIP, dict(type='Pad', padding=1)]),
    'ConvertImageDtype': dict(dtype='torch.float64'),
    'ElasticTransform': dict(alpha=10.0, sigma=1.0, interpolation='nearest'),
    'FiveCrop': dict(size=4),
    'GaussianBlur': dict(kernel_size=3, sigma=[0.1, 2.0]),
    'GaussianNoise': dict(sigma=0.1, clip=True),
    'Grayscale': dict(num_output_channels=3),
    'Identity': {},
    'JPEG': dict(quality=[50, 90]),
    'LinearTransformation': dict(transformation_matrix=IDENTITY, mean_vector=[0.5] * (3 * 4 * 4)),
    'Normalize': dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),
    'PILToTensor': {},
    'Pad': dict(padding=[1, 2], fill=7, padding_mode='reflect'),
    'RGB': {},
    'RandAugment': dict(num_ops=2, magnitude=9, interpolation='bicubic'),
    'RandomAdjustSharpness': dict(sharpness_factor=2.0),
    'RandomAffine': dict(degrees=15, translate=[0.1, 0.1], scale=[0.9, 1.1], shear=5, interpolation='bilinear'),
    'RandomApply': dict(transforms=[FLIP], p=0.5),
    'RandomAutocontrast': {},
    'RandomChannelPermutation': {},
    'RandomChoice': dict(transforms=[FLIP, dict(type='RandomOrder', transforms=[FLIP])], p=[0.2, 0.8]),
    'RandomCrop': dict(size=16, padding=2, fill=[1, 2, 3], padding_mode='constant'),
    'RandomEqualize': {},
    'RandomErasing': dict(p=1.0, value='random'),
    'RandomGrayscale': {},
    'RandomHorizontalFlip': {},
    'RandomInvert': {},
    'RandomOrder': dict(
        transforms=[FLIP, dict(type='Compose', transforms=[dict(type='RandomApply', transforms=[FLIP])])]
    ),
    'RandomPerspective': dict(interpolation='nearest'),
    'RandomPhotometricDistort': dict(hue=[-0.1, 0.1]),
    'RandomPosterize': dict(bits=4),
    'RandomResize': dict(min_size=10, max_size=20, interpolation='bicubic'),
    'RandomResizedCrop': dict(size=16, scale=[0.5, 1.0], interpolation='bicubic', antialias=True),
    'RandomRotation': dict(degrees=[-10, 10], interpolation='bilinear', center=[8.0, 8.0]),
    'RandomShortestSize': dict(min_size=[12, 20]),
    'RandomSolarize': dict(threshold=128),
    'RandomVerticalFlip': {},
    'RandomZoomOut': dict(fill=3, side_range=[1.0, 2.0]),
    'Resize': dict(size=[16, 16], interpolation='bicubic'),
    'ScaleJitter': dict(target_size=[16, 16]),
    'TenCrop': dict(size=4, vertical_flip=True),
    'ToDtype': dict(dtype={'Image': 'float32', 'others': None}, scale=True),
    'ToImage': {},
    'ToPILImage': {},
    'ToPureTensor': {},
    'ToTensor': {},
    'TrivialAugmentWide': dict(interpolation='bilinear'),
}
ON_FLOATS = ('GaussianNoise', 'LinearTransformation', 'Normalize', 'RandomErasing')
ON_BYTES = ('JPEG', 'ToPILImage')
TO_FLOATS = [dict(type='ToImage'), dict(type='ToDtype', dtype='float32', scale=True)]


def check(transforms, field='transforms'):
    """Check a transform config as a config is checked before anything is built."""
    plain = dict(
        model=MODEL, train_dataloader=dict(dataset=dict(type='DigitsDataset', split='train', **{field: transforms}))
    )
    check_components(plain)


def test_every_transform_of_torchvision_is_tested_or_refused():
    ours = {name for name, kind in TRANSFORMS.module_dict.items() if kind.__module__.startswith('torchvision')}
    assert ours | {'ToTensor'} == {*EVERY} | {kind.__name__ for kind in REFUSED} and len(ours) >= 61


@pytest.mark.parametrize('name', EVERY)
def test_transform_of_torchvision_works_from_plain_values(name):
    config = dict(type=name, **EVERY[name])
    check([config])
    before = TO_FLOATS if name in ON_FLOATS else [dict(type='PILToTensor')] if name in ON_BYTES else []
    size = (4, 4) if name == 'LinearTransformation' else (16, 16)
    dataset = ImageDataset([(Image.new('RGB', size, (10, 100, 200)), 0)], ['a'], [*before, config])
    dataset = pickle.loads(pickle.dumps(dataset))
    assert type(dataset.transforms[-1]) is (ToTensor if name == 'ToTensor' else getattr(v2, name))
    if name in ('FiveCrop', 'TenCrop'):
        with pytest.raises(
            ConfigError, match=rf'^dataset\.transforms end with a tuple, of {name}; the last must return'
        ):
            dataset[0]
    else:
        assert dataset[0]['inputs'].ndim == 3 and len(dataset[0]['inputs']) == 3


def test_plain_values_are_converted_to_annotated_types():
    assert TRANSFORMS.build(dict(type='AutoAugment', policy='svhn')).policy is v2.AutoAugmentPolicy.SVHN
    assert TRANSFORMS.build(dict(type='AutoAugment', policy='IMAGENET')).policy is v2.AutoAugmentPolicy.IMAGENET
    for dtype in ('float16', 'torch.float16', torch.float16):
        assert TRANSFORMS.build(dict(type='ToDtype', dtype=dtype)).dtype is torch.float16
    image = Image.new('RGB', (2, 2), (255, 0, 51))
    pixels = v2.Compose([TRANSFORMS.build(config) for config in TO_FLOATS])(image)
    assert pixels[:, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_to_tensor_gives_equal_results_for_cached_and_decoded_images():
    image = Image.new('RGB', (2, 2), (255, 0, 51))
    for given in (image, v2.functional.pil_to_tensor(image), v2.functional.to_image(image)):
        pixels = TRANSFORMS.build(dict(type='ToTensor'))(given)
        assert type(pixels) is torch.Tensor and pixels.dtype == torch.float32
        assert pixels[:, 1, 1].tolist() == pytest.approx([1, 0, 0.2])
    assert torch.equal(TRANSFORMS.build(dict(type='ToTensor'))(pixels), pixels)


def test_nested_transforms_are_applied_at_any_depth():
    inner = dict(type='RandomOrder', transforms=[dict(type='Compose', transforms=[FLIP])])
    flipped = TRANSFORMS.build(dict(type='RandomApply', p=1.0, transforms=[inner]))(torch.arange(3).reshape(1, 1, 3))
    assert flipped.tolist() == [[[2, 1, 0]]]


def test_nested_configs_are_built_only_for_annotated_arguments_of_a_plugin():
    @TRANSFORMS.register_module(force=True)
    class BuildsItsOwn:
        def __init__(self, transforms, how: 'NotImported' = None):  # noqa: F821
            self.transforms = [TRANSFORMS.build(transform) for transform in transforms]

    @TRANSFORMS.register_module(force=True)
    class Asks:
        def __init__(self, first: torch.dtype, second: v2.InterpolationMode | None = None, plain: str = 'bilinear'):
            self.given = first, second, plain

    assert isinstance(
        TRANSFORMS.build(dict(type='BuildsItsOwn', transforms=[FLIP])).transforms[0], v2.RandomHorizontalFlip
    )
    asked = TRANSFORMS.build(dict(type='Asks', first='uint8', second='bicubic'))
    assert asked.given == (torch.uint8, v2.InterpolationMode.BICUBIC, 'bilinear')


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            dict(type='RandomApply', transforms=[FLIP, dict(type='RandomCop', size=3)]),
            r"^train_dataloader\.dataset\.transforms\.0\.transforms\.1\.type is 'RandomCop', which is not registered; did",
        ),
        (
            dict(type='Compose', transforms=[dict(type='RandomChoice', transforms=[dict(type='Resize', sizee=3)])]),
            r'^train_dataloader\.dataset\.transforms\.0\.transforms\.0\.transforms\.0\.sizee is not an argument of Resize; did',
        ),
        (
            dict(type='Compose', transforms=[3]),
            r'^train_dataloader\.dataset\.transforms\.0\.transforms\.0 must be .*, got 3$',
        ),
        (
            dict(type='AutoAugment', policy='imagnet'),
            r"^train_dataloader\.dataset\.transforms\.0\.policy must be 'imagenet' or 'cifar10' or 'svhn', got 'imagnet'",
        ),
        (
            dict(type='ToDtype', dtype='float33'),
            r"transforms\.0\.dtype must be the name of a dtype.*, got 'float33'; did you mean 'float32'",
        ),
        (
            dict(type='MixUp'),
            r"^train_dataloader\.dataset\.transforms\.0\.type is 'MixUp', which mixes .* mixup=dict\(mixup",
        ),
        (
            dict(type='Lambda', lambd='x'),
            r"transforms\.0\.type is 'Lambda', which takes a function, which a config cannot",
        ),
        (dict(type='RandomIoUCrop'), r"is 'RandomIoUCrop', which is for boxes, .*; leave it out$"),
        (dict(type='RandomErasing', p='often'), r"transforms\.0\.p must be a finite number, got 'often'$"),
    ],
)
def test_invalid_transform_is_reported_with_its_position(config, message):
    with pytest.raises(ConfigError, match=message):
        check([config])


def test_refused_transforms_are_refused_without_a_config_too():
    with pytest.raises(ConfigError, match=r'^type is CutMix, which mixes the images of a batch'):
        TRANSFORMS.build(dict(type='CutMix'))

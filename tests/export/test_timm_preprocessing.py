import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import v2

from motivation.export.timm_preprocessing import find_preprocessing
from motivation.registry import TRANSFORMS

NETWORK = dict(input_size=(3, 224, 224), interpolation='lanczos', crop_pct=0.9, crop_mode='border')


def photograph(width=50, height=40):
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 255
    pixels = torch.nn.functional.interpolate(coarse, size=(height, width), mode='bicubic').clamp(0, 255)
    return v2.functional.to_pil_image(pixels[0].to(torch.uint8))


def by_timm(values):
    arguments = {**values, 'input_size': tuple(values['input_size'])}
    return create_transform(**arguments, normalize=False)


@pytest.mark.parametrize(
    'transforms',
    [
        [dict(type='TimmTransform', input_size=24)],
        [dict(type='TimmTransform', input_size=24, crop_pct=0.95, crop_mode='squash', interpolation='bicubic')],
        [dict(type='TimmTransform', input_size=24, crop_mode='border')],
        [dict(type='Resize', size=27), dict(type='CenterCrop', size=24), dict(type='ToTensor')],
        [dict(type='Resize', size=29, interpolation='bicubic'), dict(type='CenterCrop', size=[24, 24])],
        [dict(type='Resize', size=[24, 24], interpolation=3)],
        [dict(type='Resize', size=[26, 26]), dict(type='CenterCrop', size=24)],
    ],
)
def test_timm_makes_the_images_of_validation(transforms):
    found = find_preprocessing(dict(input_size=[3, 24, 24], transforms=transforms), NETWORK)
    assert found.is_exact
    image = photograph()
    expected = image
    for transform in transforms:
        expected = TRANSFORMS.build(transform)(expected)
    if isinstance(expected, Image.Image):
        expected = v2.functional.pil_to_tensor(expected)
    if expected.is_floating_point():
        expected = (expected * 255).round().to(torch.uint8)
    assert torch.equal(by_timm(found.values)(image), expected)


def test_side_that_is_resized_to_survives_the_rounding_of_its_share():
    for crop in (24, 30, 224):
        for side in range(crop, crop + 90):
            transforms = [dict(type='Resize', size=side), dict(type='CenterCrop', size=crop)]
            found = find_preprocessing(dict(input_size=[3, crop, crop], transforms=transforms), NETWORK)
            assert by_timm(found.values).transforms[0].size == side


def test_images_without_transforms_keep_their_size():
    found = find_preprocessing(dict(input_size=[3, 24, 24], transforms=[]), NETWORK)
    assert found.is_exact
    image = photograph(24, 24)
    assert torch.equal(by_timm(found.values)(image), v2.functional.pil_to_tensor(image))


@pytest.mark.parametrize(
    'transforms',
    [
        [dict(type='CenterCrop', size=24)],
        [dict(type='Pad', padding=2)],
        [dict(type='Resize', size=[24, 20])],
        [dict(type='Resize', size=24, interpolation='nearest-exact')],
    ],
)
def test_what_timm_cannot_do_leaves_the_crop_of_the_network_and_is_said(transforms):
    found = find_preprocessing(dict(input_size=[3, 24, 24], transforms=transforms), NETWORK)
    assert not found.is_exact
    assert found.values == {**NETWORK, 'input_size': [3, 24, 24]}


def test_images_of_unknown_size_are_those_of_the_network():
    assert find_preprocessing({}, NETWORK) == (NETWORK, False)

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from motivation.datasets import BadImageError, TimmDataset, decoded_images
from motivation.datasets.decoding import Decoder
from motivation.errors import ConfigError

NAMES = ['opencv', 'pillow', 'scaled']


def photo(width=97, height=83, mode='RGB', seed=0):
    """Return noise of several scales, which a decoder that skips a step gets wrong."""
    draw = np.random.default_rng(seed)
    parts = [
        Image.fromarray(draw.integers(0, 256, (height // cell, width // cell, 3), dtype=np.uint8))
        for cell in (1, 4, 16)
    ]
    pixels = np.mean([np.asarray(part.resize((width, height), Image.Resampling.BICUBIC)) for part in parts], axis=0)
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def gradient(width, height):
    """Return levels that rise by half a level a pixel, across in red and down in green, without steps to round."""
    rows, columns = np.mgrid[:height, :width] / 2 + np.random.default_rng(0).random((2, height, width))
    return Image.fromarray(np.stack([columns, rows, columns * 0], axis=2).astype(np.uint8))


def encoded(image, file_format='JPEG', **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(name, data, mode='RGB', first=None):
    decoder = Decoder(name, mode)
    decoder.take_over(first)
    with Image.open(io.BytesIO(data)) as image:
        pixels = decoder(image)
    return pixels if isinstance(pixels, torch.Tensor) else v2.functional.pil_to_tensor(pixels)


@pytest.mark.parametrize('subsampling', [0, 1, 2])
@pytest.mark.parametrize('progressive', [False, True])
def test_opencv_decodes_the_pixels_of_pillow(subsampling, progressive):
    for mode in ('RGB', 'L'):
        data = encoded(photo(mode=mode), quality=85, subsampling=subsampling, progressive=progressive)
        expected = np.asarray(Image.open(io.BytesIO(data)))
        pixels = decoded('opencv', data, mode)
        assert pixels.dtype == torch.uint8
        assert np.array_equal(pixels.permute(1, 2, 0).numpy().reshape(expected.shape), expected)


def special_files():
    turned = Image.Exif()
    turned[0x0112] = 6
    yield 'turned', encoded(photo(), exif=turned)
    yield 'grey', encoded(photo(mode='L'))
    yield 'cmyk', encoded(photo(mode='CMYK'))
    yield 'png', encoded(photo(), 'PNG')
    yield 'transparent', encoded(photo(mode='RGBA'), 'PNG')
    yield '16 bits', encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), 'PNG')
    yield 'with more after its end', encoded(photo()) + b'more'


@pytest.mark.parametrize('data', [data for _, data in special_files()], ids=[name for name, _ in special_files()])
def test_every_kind_of_file_is_read_alike_by_every_decoder(data):
    for mode in ('RGB', 'L'):
        expected = decoded('pillow', data, mode)
        for name in NAMES:
            assert torch.equal(decoded(name, data, mode), expected)


def broken_files():
    whole = encoded(photo())
    return {
        'cut': whole[: len(whole) // 2],
        'end': whole[:-2],
        'zeros': whole[: len(whole) // 2] + bytes(2000),
        'header': whole[:20],
    }


@pytest.mark.parametrize('kind', ['cut', 'end', 'zeros', 'header'])
def test_broken_file_is_unreadable_with_every_decoder_in_the_same_words(tmp_path, kind):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/0.jpg').write_bytes(encoded(photo()))
    (tmp_path / 'a/1.jpg').write_bytes(broken_files()[kind])
    messages = set()
    for name in NAMES:
        dataset = TimmDataset(
            str(tmp_path), split='', cache_mib=0, decoder=name, transforms=[dict(type='Resize', size=9)]
        )
        with pytest.raises(BadImageError, match=r"'.*1\.jpg' is unreadable: ") as error:
            dataset[1]
        messages.add(str(error.value))
    assert len(messages) == 1


CROPS = [
    v2.RandomResizedCrop([24, 20], scale=(0.3, 1.0)),
    v2.Resize([24, 20]),
    v2.Resize(20),
    v2.Resize(20, interpolation=v2.InterpolationMode.BICUBIC),
]


@pytest.mark.parametrize(
    'options', [{}, dict(restart_marker_blocks=5), dict(progressive=True)], ids=['', 'restart', 'progr']
)
def test_damage_anywhere_in_a_scan_has_the_verdict_of_pillow(options):
    """Every marker and random bytes, of which libjpeg takes some for the end of the data and goes on."""
    data = encoded(photo(40, 40), **options)
    draw = np.random.default_rng(0)
    refused = 0
    for number in range(400):
        broken = bytearray(data)
        place = int(draw.integers(len(data) // 2, len(data) - 20))
        broken[place : place + 2] = bytes([255, number]) if number < 256 else bytes(draw.integers(0, 256, 2).tolist())
        results = []
        for name in ('pillow', 'opencv'):
            try:
                results.append(decoded(name, bytes(broken)))
            except OSError as error:
                results.append(str(error))
        refused += isinstance(results[0], str)
        same = results[0] == results[1]
        assert same if isinstance(same, bool) else same.all(), (number, place)
    assert 100 < refused < 300


def test_whole_files_are_not_left_to_pillow(monkeypatch):
    monkeypatch.setattr('motivation.datasets.decoding.v2.functional.pil_to_tensor', None)
    for options in ({}, dict(restart_marker_blocks=5), dict(progressive=True)):
        assert decoded('opencv', encoded(photo(), **options)).shape == (3, 83, 97)


@pytest.mark.parametrize('crop', CROPS, ids=repr)
def test_scaled_decoding_shows_the_part_of_the_image_that_the_transform_draws(crop):
    shapes = set()
    for seed, (width, height) in enumerate([(400, 301), (263, 399), (201, 97), (50, 61), (39, 41)]):
        data = encoded(gradient(width, height), quality=98, subsampling=0)
        torch.manual_seed(seed)
        expected = crop(decoded('pillow', data))
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        pixels = decoded('scaled', data, first=crop)
        assert torch.equal(torch.rand(1), drawn)  # and the rest of the augmentation draws what it would
        assert pixels.shape == expected.shape and pixels.dtype == torch.uint8
        error = (pixels.double() - expected)[:, 1:-1, 1:-1]
        # A level is two pixels of the file: the part is not moved by one, in the mean, nor stretched by three.
        assert error.abs().max() <= 2 and error.mean(dim=(1, 2)).abs().max() <= 0.5
        shapes.add(tuple(pixels.shape))
    assert len(shapes) == (1 if len(crop.size) == 2 else 5)


@pytest.mark.parametrize(('size', 'is_scaled'), [([50, 41], True), ([51, 41], False), ([50, 42], False)])
def test_no_image_is_decoded_smaller_than_the_transform_takes_it(size, is_scaled):
    data, resize = encoded(photo(82, 100)), v2.Resize(size)
    assert torch.equal(decoded('scaled', data, first=resize), resize(decoded('opencv', data))) != is_scaled


@pytest.mark.parametrize('transform', [v2.CenterCrop(8), v2.Resize(8, max_size=9), v2.Resize(8, interpolation=0), None])
def test_other_transforms_are_not_taken_over(transform):
    assert not Decoder('scaled', 'RGB').take_over(transform)
    assert not Decoder('opencv', 'RGB').take_over(v2.Resize(8))


def test_transforms_of_a_folder_get_one_type_of_image_and_each_is_applied_once(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/0.jpg').write_bytes(encoded(photo(200, 180)))
    (tmp_path / 'a/1.png').write_bytes(encoded(photo(100, 90), 'PNG'))
    for name, kind in (('opencv', torch.Tensor), ('pillow', Image.Image), ('scaled', torch.Tensor)):
        transforms = [dict(type='Resize', size=[40, 40]), dict(type='Pad', padding=1)]
        dataset = TimmDataset(str(tmp_path), split='', decoder=name, transforms=transforms)
        assert dataset.applied == (name == 'scaled')
        seen = []
        dataset.transforms.append(lambda image, seen=seen: seen.append(image) or image)
        assert [dataset[index]['inputs'].shape for index in (0, 1)] == [(3, 42, 42)] * 2
        assert all(isinstance(image, kind) for image in seen)
    with pytest.raises(ConfigError, match=r"^decoder must be 'opencv', 'pillow' or 'scaled', got 'turbo'$"):
        TimmDataset(str(tmp_path), split='', decoder='turbo')


def test_damage_that_libjpeg_passes_over_is_said_once_with_the_name_of_the_image(tmp_path, capfd, monkeypatch):
    """Without a line of libjpeg's own, which names no image; an image that is whole is not named."""
    lines = []
    monkeypatch.setattr(decoded_images, 'print_log', lambda message, *_: lines.append(message))
    whole = encoded(photo())
    folder = tmp_path / 'train' / 'a'
    folder.mkdir(parents=True)
    (folder / '0.jpg').write_bytes(whole)
    (folder / '1.jpg').write_bytes(whole[:-2] + bytes([18] * 20) + whole[-2:])
    dataset = TimmDataset(str(tmp_path), cache_mib=0)
    images = [dataset[index]['inputs'] for index in (0, 1, 1, 0)]
    assert torch.equal(images[0], images[1])
    (line,) = lines
    assert line.startswith(f"'{folder / '1.jpg'}' is damaged, and some of its pixels may be wrong: Corrupt JPEG data: ")
    assert capfd.readouterr().err == ''

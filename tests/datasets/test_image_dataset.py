import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2

from motivation.datasets import BadImageError, DigitsDataset, ImageDataset, TimmDataset, collate_images, first_batch
from motivation.datasets.decoded_images import DecodedImages
from motivation.datasets.decoding import Decoder
from motivation.datasets.image_dataset import TensorImages
from motivation.errors import ConfigError
from motivation.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class Blacken:
    """A transform that modifies its argument in place, as transforms of users may."""

    def __call__(self, image):
        if isinstance(image, torch.Tensor):
            return image.zero_()
        image.paste(0, (0, 0, *image.size))
        image.info['black'] = True
        return image


def pil_images():
    return [(Image.new('L', (20, 30), 9), 0)]


def tensor_images():
    return TensorImages(torch.full((1, 1, 30, 20), 9, dtype=torch.uint8), torch.tensor([0]))


def read_from_a_stream():
    """An iterable dataset, which is therefore kept in memory."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            image = Image.new('L', (20, 30), 9)
            image.getexif()[0x0112] = 6
            yield image, 0

    return DecodedImages(Stream(), Decoder('pillow', 'L'))


@pytest.mark.parametrize(
    'inplace', [dict(type='Blacken'), dict(type='RandomErasing', p=1.0, scale=[0.5, 0.5], inplace=True)]
)
@pytest.mark.parametrize('source', [pil_images, tensor_images, read_from_a_stream])
def test_in_place_transforms_do_not_change_the_data(source, inplace):
    kept = source()
    plain = ImageDataset(kept, ['a'])
    before = plain[0]['inputs'].clone()
    to_tensor = [] if inplace['type'] == 'Blacken' else [dict(type='ToImage')]
    writing = ImageDataset(kept, ['a'], [*to_tensor, inplace])
    for _ in range(3):
        assert (writing[0]['inputs'] == 0).any()
        plain[0]['inputs'].fill_(77)  # nor does changing an item
        assert torch.equal(plain[0]['inputs'], before)


def test_shipped_datasets_return_copies(tmp_path):
    Image.new('L', (8, 8), 9).save((tmp_path / 'a').mkdir() or tmp_path / 'a/0.png')
    for dataset in (DigitsDataset('test'), TimmDataset(str(tmp_path), split='', image_mode='L')):
        before = dataset.source.images.clone()
        dataset.transforms = [v2.RandomErasing(1.0, inplace=True), Blacken()]
        assert dataset[0]['inputs'].max() == 0
        assert torch.equal(dataset.source.images, before)


@TRANSFORMS.register_module(force=True)
class RefuseDark:
    def __call__(self, image):
        if v2.functional.pil_to_tensor(image).max() < 2 if isinstance(image, Image.Image) else image.max() < 2:
            raise KeyError('dark')
        return image


@pytest.mark.parametrize(('cache_mib', 'workers'), [(0, 0), (1024, 0), (0, 1)])
def test_image_on_which_a_transform_fails_is_reported_or_skipped(tmp_path, cache_mib, workers):
    (tmp_path / 'a').mkdir()
    for index in range(4):
        Image.new('L', (4, 4), index).save(tmp_path / f'a/{index}.png')
    transforms = [dict(type='RandomVerticalFlip'), dict(type='RefuseDark')]
    arguments = dict(root=str(tmp_path), split='', image_mode='L', transforms=transforms, cache_mib=cache_mib)
    name = repr(str(tmp_path / 'a/1.png'))
    message = (
        rf"{name} fails in transforms\.1 \(RefuseDark\): KeyError: 'dark' \(test_image_dataset\.py, line \d+\); fix"
    )
    dataset = TimmDataset(**arguments)
    with pytest.raises(BadImageError, match=rf"{message} the transform, .*, or leave .* dataset\.on_error='skip'$"):
        next(iter(DataLoader(Subset(dataset, [2, 1]), 2, collate_fn=collate_images, num_workers=workers)))
    skipping = TimmDataset(**arguments, on_error='skip')
    batch = next(iter(DataLoader(skipping, 4, collate_fn=collate_images, num_workers=workers)))
    assert batch['inputs'][:, 0, 0, 0].tolist() == [2, 3]
    assert [skipped[0] for skipped in batch.skipped] == [repr(str(tmp_path / f'a/{index}.png')) for index in (0, 1)]
    assert batch.skipped[1][1].startswith("fails in transforms.1 (RefuseDark): KeyError: 'dark'")
    with pytest.raises(
        ConfigError, match=r"leaves nothing of 2 images; fix the data or its transforms: '.*0\.png' fails in"
    ):
        first_batch(Subset(skipping, [0, 1]))


def test_transforms_that_do_not_return_an_image_are_refused():
    for last, found in ((lambda image: (image, image), 'tuple'), (lambda image: None, 'NoneType')):
        dataset = ImageDataset(pil_images(), ['a'], on_error='skip')
        dataset.transforms = [last]
        with pytest.raises(ConfigError, match=rf'^dataset\.transforms end with a {found}, of function; the last must'):
            dataset[0]

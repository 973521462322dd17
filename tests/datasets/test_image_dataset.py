import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from motivation.datasets import DigitsDataset, ImageDataset, TimmDataset
from motivation.datasets.image_dataset import TensorImages
from motivation.datasets.timm_dataset import _Converted
from motivation.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class Blacken:
    """Writes into its argument, as users' own transforms may."""

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
    """What can only be iterated, and is therefore kept in memory."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            image = Image.new('L', (20, 30), 9)
            image.getexif()[0x0112] = 6
            yield image, 0

    return _Converted(Stream(), 'L')


@pytest.mark.parametrize(
    'inplace', [dict(type='Blacken'), dict(type='RandomErasing', p=1.0, scale=[0.5, 0.5], inplace=True)]
)
@pytest.mark.parametrize('source', [pil_images, tensor_images, read_from_a_stream])
def test_transforms_that_write_into_their_argument_do_not_change_the_data(source, inplace):
    kept = source()
    plain = ImageDataset(kept, ['a'])
    before = plain[0]['inputs'].clone()
    to_tensor = [] if inplace['type'] == 'Blacken' else [dict(type='ToImage')]
    writing = ImageDataset(kept, ['a'], [*to_tensor, inplace])
    for _ in range(3):
        assert (writing[0]['inputs'] == 0).any()
        plain[0]['inputs'].fill_(77)  # nor does who gets the item
        assert torch.equal(plain[0]['inputs'], before)


def test_shipped_datasets_hand_out_their_own_copies(tmp_path):
    Image.new('L', (8, 8), 9).save((tmp_path / 'a').mkdir() or tmp_path / 'a/0.png')
    for dataset in (DigitsDataset('test'), TimmDataset(str(tmp_path), split='', image_mode='L')):
        before = dataset.source.images.clone()
        dataset.transforms = [v2.RandomErasing(1.0, inplace=True), Blacken()]
        assert dataset[0]['inputs'].max() == 0
        assert torch.equal(dataset.source.images, before)
